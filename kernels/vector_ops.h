// Small f32 operations on one or a few rows, each element on its own: there is no order to keep.
//
//   add_rows     out[t, :] += x[t, :]
//   add_scaled   out[:] += scale * x[:]          one multiplication and one addition, each rounded
//   all_finite   no NaN and no infinity among x
#pragma once

#include <span>

#include "common/rows.h"

namespace conclave {

void add_rows(Rows<const float> x, Rows<float> out);
void add_scaled(float scale, std::span<const float> x, std::span<float> out);
bool all_finite(std::span<const float> x);

}  // namespace conclave
