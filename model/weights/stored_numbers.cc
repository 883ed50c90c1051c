#include "model/weights/stored_numbers.h"

#include <cmath>
#include <cstring>

#include "common/check.h"

namespace conclave {
namespace {

template <typename T>
void widen_all(const std::byte* data, uint64_t count, float* out) {
  for (uint64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, data + i * sizeof(T), sizeof(T));
    out[i] = to_f32(value);
  }
}

}  // namespace

std::optional<DType> weight_dtype(std::string_view stored) {
  if (stored == "F32") return DType::kF32;
  if (stored == "F16") return DType::kF16;
  if (stored == "BF16") return DType::kBF16;
  if (stored == "F8_E4M3") return DType::kF8E4M3;
  if (stored == "I8") return DType::kI8;
  return std::nullopt;
}

void widen(const std::byte* data, DType dtype, uint64_t count, float* out) {
  CHECK(!has_scales(dtype));
  if (dtype == DType::kF32) return widen_all<float>(data, count, out);
  if (dtype == DType::kF16) return widen_all<f16>(data, count, out);
  widen_all<bf16>(data, count, out);
}

bool all_finite(const float* values, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    if (!std::isfinite(values[i])) return false;
  }
  return true;
}

}  // namespace conclave
