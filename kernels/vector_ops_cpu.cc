// Plain loops: every element stands alone, so the compiler may use whatever vectors it likes and
// the bits stay. They are bound by memory.

#include <bit>
#include <cstddef>
#include <cstdint>

#include "common/check.h"
#include "kernels/vector_ops.h"

namespace conclave {

void add_rows(Rows<const float> x, Rows<float> out) {
  CHECK(x.num_rows == out.num_rows);
  CHECK(x.num_cols == out.num_cols);
  for (int64_t t = 0; t < x.num_rows; ++t) {
    const float* const from = x.row(t);
    float* const to = out.row(t);
    for (int64_t i = 0; i < x.num_cols; ++i) to[i] += from[i];
  }
}

void add_scaled(float scale, std::span<const float> x, std::span<float> out) {
  CHECK(x.size() == out.size());
  for (size_t i = 0; i < x.size(); ++i) out[i] += scale * x[i];
}

bool all_finite(std::span<const float> x) {
  constexpr uint32_t kExponent = 0x7F800000u;
  uint32_t num_bad = 0;
  for (const float value : x) {
    num_bad |= (std::bit_cast<uint32_t>(value) & kExponent) == kExponent ? 1u : 0u;
  }
  return num_bad == 0;
}

}  // namespace conclave
