#include "common/dtype.h"

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

namespace conclave {
namespace {

constexpr std::array<std::pair<DType, std::string_view>, 5> kNames = {{
    {DType::kF32, "f32"},
    {DType::kF16, "f16"},
    {DType::kBF16, "bf16"},
    {DType::kF8E4M3, "fp8"},
    {DType::kI8, "int8"},
}};

}  // namespace

std::string_view dtype_name(DType dtype) {
  for (const auto& [known, name] : kNames) {
    if (known == dtype) return name;
  }
  return "?";
}

std::optional<DType> parse_dtype(std::string_view name) {
  for (const auto& [dtype, known] : kNames) {
    if (known == name) return dtype;
  }
  return std::nullopt;
}

float to_f32(bf16 value) { return std::bit_cast<float>(uint32_t{value.bits} << 16); }

float to_f32(f16 value) {
  const uint32_t sign = uint32_t{value.bits & 0x8000u} << 16;
  const uint32_t exponent = (value.bits >> 10) & 0x1Fu;
  const uint32_t mantissa = value.bits & 0x3FFu;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24, exact
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return sign ? -magnitude : magnitude;
  }
  const uint32_t bits = exponent == 0x1F ? 0x7F800000u : (exponent + 127 - 15) << 23;
  return std::bit_cast<float>(sign | bits | (mantissa << 13));
}

float to_f32(f8e4m3 value) {
  const uint32_t exponent = (value.bits >> 3) & 0xFu;
  const uint32_t mantissa = value.bits & 0x7u;
  float magnitude = 0.f;
  if (exponent == 0xF && mantissa == 0x7) {
    magnitude = std::numeric_limits<float>::quiet_NaN();
  } else if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(mantissa), -9);
  } else {
    magnitude = std::ldexp(static_cast<float>(8 + mantissa), static_cast<int>(exponent) - 10);
  }
  return (value.bits & 0x80u) ? -magnitude : magnitude;
}

bf16 to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return bf16{static_cast<uint16_t>((bits >> 16) | 0x40u)};
  const uint32_t rounded = bits + 0x7FFFu + ((bits >> 16) & 1u);
  return bf16{static_cast<uint16_t>(rounded >> 16)};
}

}  // namespace conclave
