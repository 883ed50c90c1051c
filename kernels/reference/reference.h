// The slow truth: every op as plain loops in double, readable as its definition. The same argument
// structs as the fast ops, results rounded to f32 once. Tests hold the fast ops against these
// within a tolerance; they share no code with them beyond the conversions of common/dtype.h.
//
// Thread-safe: no state. Cost: do not serve with them.
#pragma once

#include <span>

#include "kernels/matmul.h"
#include "kernels/paged_mla.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "kernels/weight.h"

namespace conclave::reference {

// The number that stands at (n, k), as f32: fp8 codes times their block's scale, rounded once.
float weight_at(const Weight& w, int64_t n, int64_t k);

void matmul(const MatmulArgs& args);
void matmul_t(const MatmulArgs& args);
void rms_norm(const RmsNormArgs& args);
void rope(const RopeArgs& args);
void softmax_rows(Rows<float> x);
void sigmoid_rows(Rows<float> x);
double log_sum_exp(std::span<const float> x);
void swiglu(const SwigluArgs& args);
void paged_mla(const PagedMlaArgs& args);

}  // namespace conclave::reference
