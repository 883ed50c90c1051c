// out[t, :] = W_down (silu(W_gate x[t, :]) * W_up x[t, :])        x, out [T, D]   hidden [T, F]
//
// The dense layers, the shared expert and every routed expert are this one function. Scratch is the
// caller's, taken once for the largest T. A row's result is its own affair (kernels/matmul.h).
#pragma once

#include "common/executor.h"
#include "common/rows.h"
#include "model/weights/weights.h"

namespace conclave {

struct FfnArgs {
  const FfnWeights* weights = nullptr;
  Rows<const float> x;  // [T, D]
  Rows<float> gate;     // [T, F] scratch; ends as silu(gate) * up
  Rows<float> up;       // [T, F] scratch
  Rows<float> out;      // [T, D]
};

void ffn(const FfnArgs& args, Executor* executor);

}  // namespace conclave
