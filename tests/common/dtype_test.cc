// What the number formats must keep:
//   - every code of fp8, f16 and bf16 has the value that its format's formula gives it, sign of
//   zero
//     and NaN included;
//   - rounding to bf16 finds the nearest value, and the even one of two that are as near;
//   - a format's name leads back to it, and an unknown name to none.

#include "common/dtype.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

namespace conclave {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A format of sign, exponent and mantissa, read by the book: in double, and with ldexp.
double by_formula(uint32_t code, int num_exponent_bits, int num_mantissa_bits, int bias) {
  const int exponent = static_cast<int>(code >> num_mantissa_bits) & ((1 << num_exponent_bits) - 1);
  const double fraction = code & ((1u << num_mantissa_bits) - 1);
  const double significand = std::ldexp(fraction, -num_mantissa_bits) + (exponent == 0 ? 0 : 1);
  const double magnitude = std::ldexp(significand, (exponent == 0 ? 1 : exponent) - bias);
  const bool negative = (code >> (num_exponent_bits + num_mantissa_bits)) != 0;
  return negative ? -magnitude : magnitude;
}

TEST(DTypeTest, ReadsEveryFp8Code) {
  for (uint32_t code = 0; code < 256; ++code) {
    const float value = to_f32(f8e4m3{static_cast<uint8_t>(code)});
    if ((code & 0x7F) == 0x7F) {
      EXPECT_TRUE(std::isnan(value)) << code;
      continue;
    }
    EXPECT_EQ(value, by_formula(code, 4, 3, 7)) << code;
    EXPECT_EQ(std::signbit(value), code >= 128) << code;
  }
}

TEST(DTypeTest, Fp8HasItsLandmarks) {
  EXPECT_EQ(to_f32(f8e4m3{0x00}), 0.f);
  EXPECT_EQ(to_f32(f8e4m3{0x01}), 0x1p-9f);
  EXPECT_EQ(to_f32(f8e4m3{0x08}), 0x1p-6f);
  EXPECT_EQ(to_f32(f8e4m3{0x38}), 1.f);
  EXPECT_EQ(to_f32(f8e4m3{0x7E}), 448.f);
  EXPECT_EQ(to_f32(f8e4m3{0xFE}), -448.f);
}

TEST(DTypeTest, ReadsEveryF16Code) {
  for (uint32_t code = 0; code < 65'536; ++code) {
    const float value = to_f32(f16{static_cast<uint16_t>(code)});
    ASSERT_EQ(std::signbit(value), code >= 0x8000) << code;
    if ((code & 0x7C00) != 0x7C00) {
      ASSERT_EQ(value, by_formula(code, 5, 10, 15)) << code;
    } else if ((code & 0x3FF) == 0) {
      ASSERT_EQ(std::fabs(value), kInfinity) << code;
    } else {
      ASSERT_TRUE(std::isnan(value)) << code;
    }
  }
}

TEST(DTypeTest, EveryBf16CodeSurvivesTheWayToF32AndBack) {
  for (uint32_t code = 0; code < 65'536; ++code) {
    const bf16 stored{static_cast<uint16_t>(code)};
    const float value = to_f32(stored);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(to_f32(to_bf16(value)))) << code;
    } else {
      ASSERT_EQ(to_bf16(value).bits, code);
    }
  }
}

uint16_t rounded(uint32_t f32_bits) { return to_bf16(std::bit_cast<float>(f32_bits)).bits; }

TEST(DTypeTest, RoundsToTheNearestBf16) {
  EXPECT_EQ(rounded(0x3F80'7FFF), 0x3F80);  // under the middle
  EXPECT_EQ(rounded(0x3F80'8001), 0x3F81);  // over it
  EXPECT_EQ(rounded(0xBF80'7FFF), 0xBF80);
  EXPECT_EQ(rounded(0xBF80'8001), 0xBF81);
  EXPECT_EQ(rounded(0x3FFF'FFFF), 0x4000);  // carries into the exponent
  EXPECT_EQ(rounded(0x0000'0001), 0x0000);  // the smallest subnormal
  EXPECT_EQ(rounded(0x8000'0001), 0x8000);  // keeps its sign
}

TEST(DTypeTest, RoundsTiesToTheEvenBf16) {
  EXPECT_EQ(rounded(0x3F80'8000), 0x3F80);
  EXPECT_EQ(rounded(0x3F81'8000), 0x3F82);
  EXPECT_EQ(rounded(0xBF80'8000), 0xBF80);
  EXPECT_EQ(rounded(0xBF81'8000), 0xBF82);
  EXPECT_EQ(rounded(0x0000'8000), 0x0000);
  EXPECT_EQ(rounded(0x0001'8000), 0x0002);
}

TEST(DTypeTest, RoundsRandomValuesNoFartherThanEitherNeighbour) {
  std::mt19937 rng(7);
  for (int i = 0; i < 100'000; ++i) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(rng()));
    const uint16_t code = to_bf16(value).bits;
    if (!std::isfinite(value) || !std::isfinite(to_f32(bf16{code}))) continue;
    const double error = std::fabs(double{to_f32(bf16{code})} - value);
    for (const int step : {-1, 1}) {
      const double neighbour = to_f32(bf16{static_cast<uint16_t>(code + step)});
      if (std::isnan(neighbour)) continue;  // code 0 has no neighbour below
      ASSERT_LE(error, std::fabs(neighbour - value)) << value;
    }
  }
}

TEST(DTypeTest, WhatIsTooLargeForBf16IsInfinite) {
  EXPECT_EQ(rounded(0x7F7F'7FFF), 0x7F7F);  // just below the middle: the largest finite one
  EXPECT_EQ(rounded(0x7F7F'8000), 0x7F80);
  EXPECT_EQ(rounded(0x7F7F'FFFF), 0x7F80);
  EXPECT_EQ(rounded(0xFF7F'FFFF), 0xFF80);
  EXPECT_EQ(to_f32(to_bf16(kInfinity)), kInfinity);
  EXPECT_EQ(to_f32(to_bf16(-kInfinity)), -kInfinity);
}

TEST(DTypeTest, NaNStaysNaNInBf16) {
  // Cut to 16 bits these would read as infinity or, rounded up, as zero.
  for (const uint32_t bits : {0x7F80'0001u, 0xFF80'0001u, 0x7FFF'FFFFu, 0xFFFF'FFFFu}) {
    EXPECT_TRUE(std::isnan(to_f32(bf16{rounded(bits)}))) << bits;
    EXPECT_EQ(rounded(bits) >> 15, bits >> 31);
  }
}

TEST(DTypeTest, NamesLeadBack) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3, DType::kI8}) {
    EXPECT_EQ(parse_dtype(dtype_name(dtype)), dtype);
  }
}

TEST(DTypeTest, UnknownNamesAreNone) {
  for (const char* name : {"", "F32", "f3", "f32 ", "f322", "float32", "?"}) {
    EXPECT_EQ(parse_dtype(name), std::nullopt) << name;
  }
}

TEST(DTypeTest, SizesAreThoseOfTheStorageTypes) {
  EXPECT_EQ(dtype_bytes(DType::kF32), static_cast<int32_t>(sizeof(float)));
  EXPECT_EQ(dtype_bytes(DType::kF16), static_cast<int32_t>(sizeof(f16)));
  EXPECT_EQ(dtype_bytes(DType::kBF16), static_cast<int32_t>(sizeof(bf16)));
  EXPECT_EQ(dtype_bytes(DType::kF8E4M3), static_cast<int32_t>(sizeof(f8e4m3)));
}

}  // namespace
}  // namespace conclave
