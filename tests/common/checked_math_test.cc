// What checked arithmetic must keep: a result is the exact one, or there is none.

#include "common/checked_math.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>

namespace conclave {
namespace {

constexpr uint64_t kMax = UINT64_MAX;

TEST(CheckedMathTest, MultipliesWhatFits) {
  EXPECT_EQ(checked_mul(0, kMax), 0u);
  EXPECT_EQ(checked_mul(kMax, 1), kMax);
  EXPECT_EQ(checked_mul(uint64_t{1} << 32, (uint64_t{1} << 32) - 1), kMax - UINT32_MAX);
}

TEST(CheckedMathTest, RefusesAProductThatDoesNot) {
  EXPECT_EQ(checked_mul(kMax, 2), std::nullopt);
  EXPECT_EQ(checked_mul(uint64_t{1} << 32, uint64_t{1} << 32), std::nullopt);
  EXPECT_EQ(checked_mul(kMax, kMax), std::nullopt);
}

TEST(CheckedMathTest, AddsWhatFits) {
  EXPECT_EQ(checked_add(0, 0), 0u);
  EXPECT_EQ(checked_add(kMax - 1, 1), kMax);
}

TEST(CheckedMathTest, RefusesASumThatDoesNot) {
  EXPECT_EQ(checked_add(kMax, 1), std::nullopt);
  EXPECT_EQ(checked_add(kMax, kMax), std::nullopt);
}

TEST(CheckedMathTest, CeilDivRoundsUp) {
  EXPECT_EQ(ceil_div(0, 64), 0);
  EXPECT_EQ(ceil_div(1, 64), 1);
  EXPECT_EQ(ceil_div(64, 64), 1);
  EXPECT_EQ(ceil_div(65, 64), 2);
  EXPECT_EQ(ceil_div(INT32_MAX, 2), 1 << 30);  // a + b - 1 would overflow
  EXPECT_EQ(ceil_div(INT32_MAX, INT32_MAX), 1);
}

}  // namespace
}  // namespace conclave
