// What the figures of balance must be:
//   - those of small placements, known by hand, with experts that are held twice, once or not;
//   - best <= even for random placements, and best is what brute force over all sets says;
//   - no plan is below the lower bounds, and bounds fall as room grows.

#include "router/placement_plan/balance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "router/placement_plan/eplb.h"

namespace conclave {
namespace {

// The largest load(X) / |servers of X| over all sets X of experts, over the mean.
double crowding(const LayerHolders& holders, const std::vector<double>& load) {
  double worst = 0;
  double total = 0;
  for (uint32_t set = 1; set < (1u << load.size()); ++set) {
    double sum = 0;
    std::vector<bool> used(static_cast<size_t>(holders.num_servers), false);
    for (size_t e = 0; e < load.size(); ++e) {
      if ((set >> e & 1u) == 0 || holders.of[e].empty()) continue;
      sum += load[e];
      for (const int32_t s : holders.of[e]) used[static_cast<size_t>(s)] = true;
    }
    const auto num_used = std::count(used.begin(), used.end(), true);
    if (num_used > 0) worst = std::max(worst, sum / static_cast<double>(num_used));
    total = std::max(total, sum);
  }
  return total > 0 ? worst * holders.num_servers / total : 1;
}

TEST(BalanceTest, IsKnownByHand) {
  const LayerHolders holders{.num_servers = 2, .of = {{0, 1}, {0}, {}}};
  EXPECT_DOUBLE_EQ(even_balance(holders, std::vector<double>{4, 2, 9}), 4.0 / 3.0);
  EXPECT_DOUBLE_EQ(best_balance(holders, std::vector<double>{4, 2, 9}), 1.0);
  EXPECT_NEAR(best_balance(holders, std::vector<double>{2, 6, 9}), 1.5, 1e-9);
  EXPECT_DOUBLE_EQ(even_balance(holders, std::vector<double>{0, 0, 9}), 1.0);
  EXPECT_DOUBLE_EQ(best_balance(holders, std::vector<double>{0, 0, 0}), 1.0);
}

TEST(BalanceTest, TwoCopiesOnOneServerCountAsTwoParts) {
  const LayerHolders holders{.num_servers = 2, .of = {{0, 0, 1}}};
  EXPECT_DOUBLE_EQ(even_balance(holders, std::vector<double>{3}), 4.0 / 3.0);
  EXPECT_DOUBLE_EQ(best_balance(holders, std::vector<double>{3}), 1.0);
}

TEST(BalanceTest, TheBestSplitIsThatOfBruteForce) {
  std::mt19937 rng(5);
  for (int round = 0; round < 200; ++round) {
    LayerHolders holders{.num_servers = static_cast<int32_t>(1 + rng() % 6), .of = {}};
    std::vector<double> load;
    for (size_t e = 0; e < 1 + rng() % 9; ++e) {
      load.push_back(static_cast<double>(rng() % 100) * (rng() % 5 == 0 ? 1e6 : 1));
      holders.of.emplace_back();
      for (int32_t s = 0; s < holders.num_servers; ++s) {
        if (rng() % 3 == 0) holders.of.back().push_back(s);
      }
    }
    holders.of.resize(load.size());
    const double best = best_balance(holders, load);
    EXPECT_NEAR(best, crowding(holders, load), 1e-6 * best) << "round " << round;
    EXPECT_LE(best, even_balance(holders, load) * (1 + 1e-9)) << "round " << round;
  }
}

TEST(LeastBalanceTest, IsTheHottestShareThatRoomAllows) {
  const std::vector<double> load = {6, 1, 1};
  EXPECT_DOUBLE_EQ(least_balance(load, {.num_layers = 1, .num_servers = 4, .num_slots = 3}), 3.0);
  EXPECT_DOUBLE_EQ(least_balance(load, {.num_layers = 1, .num_servers = 4, .num_slots = 4}), 1.5);
  EXPECT_DOUBLE_EQ(least_balance(load, {.num_layers = 1, .num_servers = 4, .num_slots = 9}), 1.0);
}

TEST(LeastBalanceTest, LayersShareTheRoom) {
  const std::vector<double> load = {6, 1, 1, /*layer 1*/ 2, 2, 2};
  const Room tight{.num_layers = 2, .num_servers = 4, .num_slots = 7};
  EXPECT_DOUBLE_EQ(least_worst_balance(load, tight), 1.5);
  EXPECT_NEAR(least_mean_balance(load, tight), (1.5 + 4.0 / 3) / 2, 1e-6);
  const Room none{.num_layers = 2, .num_servers = 4, .num_slots = 6};
  EXPECT_DOUBLE_EQ(least_worst_balance(load, none), 3.0);
}

TEST(LeastBalanceTest, NoPlanOfEplbIsBelow) {
  std::mt19937 rng(6);
  for (int round = 0; round < 50; ++round) {
    std::vector<double> load;
    for (int e = 0; e < 24; ++e) load.push_back(static_cast<double>(1 + rng() % 1000));
    const std::vector<int32_t> slots = eplb(load, {.num_slots = 32, .num_devices = 8});
    LayerHolders holders{.num_servers = 8, .of = {}};
    holders.of.resize(load.size());
    for (size_t i = 0; i < slots.size(); ++i) {
      holders.of[static_cast<size_t>(slots[i])].push_back(static_cast<int32_t>(i / 4));
    }
    const Room room{.num_layers = 1, .num_servers = 8, .num_slots = 32};
    EXPECT_GE(best_balance(holders, load) * (1 + 1e-9), least_balance(load, room));
    EXPECT_NEAR(least_worst_balance(load, room), least_balance(load, room), 1e-9);
    EXPECT_LE(least_mean_balance(load, room), least_balance(load, room) * (1 + 1e-9));
  }
}

}  // namespace
}  // namespace conclave
