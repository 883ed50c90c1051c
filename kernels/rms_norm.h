// out[t, :] = x[t, :] / sqrt(mean(x[t, :]^2) + eps) * weight        x, out f32 [T, D]   weight f32
// [D]
//
// out may be x. One row's sum runs in one fixed order, so a row's result is its own affair.
#pragma once

#include "common/rows.h"

namespace conclave {

struct RmsNormArgs {
  Rows<const float> x;
  const float* weight = nullptr;  // [D]
  float eps = 0.f;
  Rows<float> out;
};

void rms_norm(const RmsNormArgs& args);

}  // namespace conclave
