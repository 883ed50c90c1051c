// The number formats that weights, rows and caches are stored in, and their exact conversions.
//
//   f32   IEEE single          bf16  f32 without its low 16 bits
//   f16   IEEE half            f8    E4M3 (FN): bias 7, largest 448, no infinity, NaN = 0x7F, 0xFF
//   int8  codes that mean nothing without their scales: weights alone (kernels/weight.h)
//
// Storage types are distinct types around the raw bits, so that no arithmetic happens on them by
// accident. Rounding is to nearest, ties to even. E4M3 as in arXiv 2209.05433.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace conclave {

enum class DType : uint8_t { kF32, kF16, kBF16, kF8E4M3, kI8 };

struct bf16 {
  uint16_t bits = 0;
};
struct f16 {
  uint16_t bits = 0;
};
struct f8e4m3 {
  uint8_t bits = 0;
};

constexpr int32_t dtype_bytes(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kF8E4M3:
    case DType::kI8:
      return 1;
  }
  return 0;
}

// Whether numbers of this format are codes that need scales to mean something.
constexpr bool has_scales(DType dtype) { return dtype == DType::kF8E4M3 || dtype == DType::kI8; }

// "f32", "f16", "bf16", "fp8", "int8": the words of flags and messages.
std::string_view dtype_name(DType dtype);
std::optional<DType> parse_dtype(std::string_view name);

float to_f32(bf16 value);
float to_f32(f16 value);
float to_f32(f8e4m3 value);
inline float to_f32(float value) { return value; }

// NaN stays NaN; values over the largest finite bf16 round to infinity, as in hardware.
bf16 to_bf16(float value);

}  // namespace conclave
