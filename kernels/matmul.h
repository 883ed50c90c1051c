// Products of activation rows with a weight matrix, in f32.
//
//   matmul      out[t, n] = sum over k of x[t, k] * w[n, k]      x [T, K]   w [N, K]   out [T, N]
//   matmul_t    out[t, k] = sum over n of x[t, n] * w[n, k]      x [T, N]   w [N, K]   out [T, K]
//
// `matmul` is every linear layer of a checkpoint (y = x Wᵀ); `matmul_t` multiplies by the same
// stored matrix untransposed, which is what absorbed attention needs of kv_b_proj, without a second
// copy.
//
// One output element is one chain of fused multiply-adds in a fixed order that depends on K (or N)
// and the instruction class alone: not on T, not on tiles, not on threads. Row t of a product of
// many rows has the same bits as that row alone (contract C1).
//
// An int8 w is multiplied with x quantised per row and block of 128 columns (kernels/quantise.h): a
// block's product is an exact integer, and an output element is a chain of one fused multiply-add a
// block, the same on every instruction class. `matmul_t` takes no int8: its scales run along the
// other dimension.
//
// Bound by reading w once while T is small. Thread-safe: no state. T = 0 is fine.
#pragma once

#include "common/executor.h"
#include "common/rows.h"
#include "kernels/weight.h"

namespace conclave {

struct MatmulArgs {
  Rows<const float> x;
  Weight w;
  Rows<float> out;  // must not overlap x
};

void matmul(const MatmulArgs& args, Executor* executor);
void matmul_t(const MatmulArgs& args, Executor* executor);

}  // namespace conclave
