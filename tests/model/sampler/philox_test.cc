// What the generator must keep: the published numbers of Random123 (kat_vectors, philox4x32 10),
// and a draw that is a function of (seed, position) and of every bit of both.

#include "model/sampler/philox.h"

#include <gtest/gtest.h>

#include <set>

namespace conclave {
namespace {

TEST(Philox, AnswersTheKnownAnswers) {
  EXPECT_EQ(philox4x32_10({0, 0, 0, 0}, {0, 0}),
            (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32_10({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(
      philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
      (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// The counter layout of docs/sampling.md, by the first known answer: 0xe169c58d6627e8d5 >> 11.
TEST(Philox, UniformTakesTheHigh53BitsOfTheFirstTwoWords) {
  EXPECT_EQ(uniform_at(0, 0), static_cast<double>(0xe169c58d6627e8d5u >> 11) * 0x1p-53);

  const uint64_t seed = 0x299f31d0a4093822u;
  const int64_t position = 0x05a308d3243f6a88;
  const PhiloxBlock r = philox4x32_10({0x243f6a88, 0x05a308d3, 0, 0}, {0xa4093822, 0x299f31d0});
  const uint64_t bits = (static_cast<uint64_t>(r[1]) << 32) | r[0];
  EXPECT_EQ(uniform_at(seed, position), static_cast<double>(bits >> 11) * 0x1p-53);
}

TEST(Philox, UniformIsBelowOneAndUsesEveryBitOfSeedAndPosition) {
  std::set<double> seen = {uniform_at(0, 0)};
  for (int32_t bit = 0; bit < 64; ++bit) {
    EXPECT_TRUE(seen.insert(uniform_at(uint64_t{1} << bit, 0)).second) << "seed bit " << bit;
  }
  for (int32_t bit = 0; bit < 63; ++bit) {
    EXPECT_TRUE(seen.insert(uniform_at(0, int64_t{1} << bit)).second) << "position bit " << bit;
  }
  EXPECT_GE(*seen.begin(), 0.0);
  EXPECT_LT(*seen.rbegin(), 1.0);
}

TEST(Philox, UniformFillsItsIntervalEvenly) {
  constexpr int32_t kNumDraws = 100000;
  int32_t counts[10] = {};
  for (int32_t i = 0; i < kNumDraws; ++i) ++counts[static_cast<int32_t>(uniform_at(7, i) * 10.0)];
  for (const int32_t count : counts) EXPECT_NEAR(count, kNumDraws / 10, 500);  // five sigma
}

}  // namespace
}  // namespace conclave
