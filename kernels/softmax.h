// Row-wise functions of logits, in f32. A row's result is its own affair.
//
//   softmax_rows   x[t, :] = exp(x[t, :] - max) / sum             in place
//   sigmoid_rows   x[t, i] = 1 / (1 + exp(-x[t, i]))              in place
//   log_sum_exp    max + ln(sum(exp(x - max))), summed in double in one fixed order
//
// Large numbers give limits, not overflows: exp and sigmoid run into 0, 1 or infinity. -infinity is
// a logit that cannot be chosen: its softmax is 0, and it adds nothing to a sum; log_sum_exp of
// nothing else is -infinity. NaN stays NaN, of the whole row for softmax and log_sum_exp; a softmax
// of nothing but -infinity is NaN too.
#pragma once

#include <span>

#include "common/rows.h"

namespace conclave {

void softmax_rows(Rows<float> x);
void sigmoid_rows(Rows<float> x);
double log_sum_exp(std::span<const float> x);

}  // namespace conclave
