// Numbers as they lie in a file, aligned or not, as f32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "common/dtype.h"

namespace conclave {

// The number format that weights may have, from safetensors' name of it; nothing for I64, F64, ...
std::optional<DType> weight_dtype(std::string_view stored);

// out[i] = number i of `count` at `data`, which need not be aligned. Not for codes that have
// scales.
void widen(const std::byte* data, DType dtype, uint64_t count, float* out);

bool all_finite(const float* values, uint64_t count);

inline bool is_aligned(const void* data, DType dtype) {
  return reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(dtype_bytes(dtype)) == 0;
}

}  // namespace conclave
