// Row-wise functions of logits, in f32.
//
//   softmax_rows   x[t, :] = exp(x[t, :] - max) / sum             in place
//   sigmoid_rows   x[t, i] = 1 / (1 + exp(-x[t, i]))              in place
//   log_sum_exp    max + ln(sum(exp(x - max))), summed in double in one fixed order
#pragma once

#include <span>

#include "common/rows.h"

namespace conclave {

void softmax_rows(Rows<float> x);
void sigmoid_rows(Rows<float> x);
double log_sum_exp(std::span<const float> x);

}  // namespace conclave
