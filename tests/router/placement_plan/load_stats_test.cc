// What faded counts must keep:
//   - a pick counts half after a half-life, whatever was asked in between;
//   - a steady rate becomes a steady load, so that shares are those of the rates;
//   - a clock that goes back, jumps far or stands still breaks nothing.

#include "router/placement_plan/load_stats.h"

#include <gtest/gtest.h>

#include <cmath>

namespace conclave {
namespace {

const absl::Time kStart = absl::UnixEpoch() + absl::Hours(400000);
const absl::Duration kHalfLife = absl::Seconds(10);

ExpertLoadStats stats_of(int32_t num_layers, int32_t num_experts) {
  return ExpertLoadStats(num_layers, num_experts, {.half_life = kHalfLife});
}

TEST(ExpertLoadStatsTest, NothingIsNoLoad) {
  ExpertLoadStats stats = stats_of(2, 3);
  EXPECT_EQ(stats.load(), std::vector<double>(6, 0.0));
  EXPECT_EQ(stats.load(kStart), std::vector<double>(6, 0.0));
}

TEST(ExpertLoadStatsTest, APickCountsHalfAfterAHalfLife) {
  ExpertLoadStats stats = stats_of(1, 2);
  stats.add(std::vector<int64_t>{8, 0}, kStart);
  EXPECT_DOUBLE_EQ(stats.load(kStart + kHalfLife)[0], 4);
  EXPECT_DOUBLE_EQ(stats.load()[0], 8);
  stats.add(std::vector<int64_t>{0, 8}, kStart + 2 * kHalfLife);
  EXPECT_DOUBLE_EQ(stats.load()[0], 2);
  EXPECT_DOUBLE_EQ(stats.load()[1], 8);
}

TEST(ExpertLoadStatsTest, ALayerIsAddedAlone) {
  ExpertLoadStats stats = stats_of(2, 2);
  stats.add_layer(1, std::vector<int64_t>{3, 5}, kStart);
  EXPECT_EQ(stats.load(), (std::vector<double>{0, 0, 3, 5}));
}

TEST(ExpertLoadStatsTest, ASteadyRateIsASteadyLoadOverManyHalfLives) {
  ExpertLoadStats stats = stats_of(1, 2);
  for (int i = 0; i < 5000; ++i) {
    stats.add(std::vector<int64_t>{30, 10}, kStart + i * absl::Seconds(1));
  }
  const double once = 30 / (1 - std::exp2(-0.1));
  EXPECT_NEAR(stats.load()[0], once, 1e-6 * once);
  EXPECT_NEAR(stats.load()[0] / stats.load()[1], 3, 1e-9);
}

TEST(ExpertLoadStatsTest, TimesBeforeTheLatestCountAsIt) {
  ExpertLoadStats stats = stats_of(1, 1);
  stats.add(std::vector<int64_t>{8}, kStart);
  stats.add(std::vector<int64_t>{8}, kStart - absl::Hours(5));
  EXPECT_DOUBLE_EQ(stats.load()[0], 16);
  EXPECT_DOUBLE_EQ(stats.load(kStart - absl::Hours(5))[0], 16);
}

TEST(ExpertLoadStatsTest, AfterVeryLongNothingIsLeft) {
  ExpertLoadStats stats = stats_of(1, 2);
  stats.add(std::vector<int64_t>{1000, 0}, kStart);
  stats.add(std::vector<int64_t>{0, 7}, kStart + absl::Hours(100000));
  EXPECT_EQ(stats.load(), (std::vector<double>{0, 7}));
}

TEST(ExpertLoadStatsTest, NegativeDeltasCountAsNone) {
  ExpertLoadStats stats = stats_of(1, 2);
  stats.add(std::vector<int64_t>{-5, 2}, kStart);
  EXPECT_EQ(stats.load(), (std::vector<double>{0, 2}));
}

}  // namespace
}  // namespace conclave
