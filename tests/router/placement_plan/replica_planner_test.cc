// What every plan must keep, for random clusters, loads and holdings:
//   - slots are never exceeded, and servers that take nothing new keep exactly what they hold;
//   - as many experts have a holder as there is room for, the most asked ones first;
//   - min_replicas holders for every expert, wherever that fits;
//   - the same input gives the same plan, and servers that hold a plan are given it again.

#include "router/placement_plan/replica_planner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

#include "tests/router/placement_plan/planner_fixture.h"

namespace conclave {
namespace {

constexpr int kNumRounds = 150;

// Zeros, ones, large and huge ones.
double random_load(std::mt19937* rng) {
  switch ((*rng)() % 8) {
    case 0:
      return 0;
    case 1:
      return 1e300;
    case 2:
      return 1e6;
    default:
      return static_cast<double>((*rng)() % 1000);
  }
}

// Some layers dense, some servers without any room, some that take nothing, some that hold things.
PlanInput random_input(std::mt19937* rng) {
  std::mt19937& random = *rng;
  const auto num_layers = static_cast<int32_t>(1 + random() % 4);
  const auto num_experts = static_cast<int32_t>(1 + random() % 12);
  ExpertSet all(num_layers, num_experts);
  for (int32_t layer = 0; layer < num_layers; ++layer) {
    if (num_layers > 1 && random() % 5 == 0) continue;
    for (int32_t e = 0; e < num_experts; ++e) all.insert(layer, e);
  }
  std::vector<int64_t> slots(random() % 8);
  for (int64_t& of_one : slots) of_one = random() % 4 == 0 ? 0 : 1 + random() % 30;
  PlanInput input = empty_cluster(all, slots);
  for (PlannedServer& server : input.servers) {
    server.takes_new = random() % 5 != 0;
    const uint32_t one_of = 1 + random() % 9;
    for (int32_t layer = 0; layer < num_layers && random() % 2 == 0; ++layer) {
      for (int32_t e = 0; e < num_experts; ++e) {
        if (all.contains(layer, e) && random() % one_of == 0) server.held.insert(layer, e);
      }
    }
  }
  input.min_replicas = static_cast<int32_t>(1 + random() % 3);
  if (random() % 3 != 0) {
    for (int32_t i = 0; i < num_layers * num_experts; ++i) input.load.push_back(random_load(rng));
  }
  return input;
}

// Slots that may still take anything.
int64_t open_slots(const PlanInput& input) {
  int64_t sum = 0;
  for (const PlannedServer& server : input.servers) sum += server.takes_new ? server.num_slots : 0;
  return sum;
}

ExpertSet held_for_good(const PlanInput& input) {
  ExpertSet held(input.all.num_layers(), input.all.num_experts());
  for (const PlannedServer& server : input.servers) {
    if (!server.takes_new) held.insert_all(server.held);
  }
  return held;
}

TEST(ReplicaPlannerTest, RandomPlansAreSoundAndCoverWhatTheyCan) {
  std::mt19937 rng(11);
  for (int round = 0; round < kNumRounds; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    const PlanInput input = random_input(&rng);
    const PlacementPlan plan = plan_placement(input, {});
    expect_sound(input, plan);
    const int64_t to_place = input.all.size() - held_for_good(input).size();
    EXPECT_EQ(held_by_fewer(input, plan, 1).size(),
              std::max<int64_t>(to_place - open_slots(input), 0));
  }
}

TEST(ReplicaPlannerTest, RandomPlansAreFixpointsAndTheSameTwice) {
  std::mt19937 rng(12);
  for (int round = 0; round < kNumRounds; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    const PlanInput input = random_input(&rng);
    const PlacementPlan plan = plan_placement(input, {});
    expect_same(plan, plan_placement(input, {}));
    expect_fixpoint(input, plan);
  }
}

// k holders each fit on servers with n_s slots where the sum of min(n_s, N) is k * N at least.
TEST(ReplicaPlannerTest, ThereAreMinReplicasWhereverTheyFit) {
  std::mt19937 rng(13);
  int num_fitting = 0;
  for (int round = 0; round < 4 * kNumRounds; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    PlanInput input = random_input(&rng);
    int64_t usable = 0;
    for (PlannedServer& server : input.servers) {
      server.takes_new = true;
      usable += std::min(server.num_slots, input.all.size());
    }
    if (usable < input.min_replicas * input.all.size()) continue;
    ++num_fitting;
    EXPECT_TRUE(plan_placement(input, {}).short_of.empty());
  }
  EXPECT_GT(num_fitting, kNumRounds / 4);
}

TEST(ReplicaPlannerTest, NoServersHoldNothing) {
  const PlanInput input = empty_cluster(all_experts(2, 4), {});
  const PlacementPlan plan = plan_placement(input, {});
  EXPECT_TRUE(plan.servers.empty());
  EXPECT_EQ(plan.short_of, input.all);
  EXPECT_EQ(plan.num_loads, 0);
}

TEST(ReplicaPlannerTest, TheLeastAskedGoWithoutWhereRoomIsShort) {
  PlanInput input = empty_cluster(all_experts(1, 4), {2, 1});
  input.load = {5, 1, 7, 6};
  const PlacementPlan plan = plan_placement(input, {});
  ExpertSet least(1, 4);
  least.insert(0, 1);
  EXPECT_EQ(plan.short_of, least);
}

TEST(ReplicaPlannerTest, ReplicasGiveWayToExpertsWithoutAHolder) {
  PlanInput input = empty_cluster(all_experts(1, 4), {2, 2});
  for (PlannedServer& server : input.servers) {
    server.held.insert(0, 0);
    server.held.insert(0, 1);
  }
  input.min_replicas = 2;
  const PlacementPlan plan = plan_placement(input, {});
  EXPECT_EQ(plan.num_loads, 2);
  EXPECT_TRUE(held_by_fewer(input, plan, 1).empty());
  EXPECT_EQ(plan.short_of, input.all);
}

TEST(ReplicaPlannerTest, MoreReplicasThanServersAreAllThatThereAreServers) {
  PlanInput input = empty_cluster(all_experts(2, 4), {8, 8});
  input.min_replicas = 3;
  const PlacementPlan plan = plan_placement(input, {});
  EXPECT_TRUE(held_by_fewer(input, plan, 2).empty());
  EXPECT_EQ(plan.short_of, input.all);
  expect_fixpoint(input, plan);
}

TEST(ReplicaPlannerTest, AHotExpertIsReplicatedIntoSpareRoom) {
  PlanInput input = empty_cluster(all_experts(1, 8), {3, 3, 3, 3});
  input.load = {16, 1, 1, 1, 1, 1, 1, 1};
  const PlacementPlan plan = plan_placement(input, {});
  EXPECT_EQ(num_holders(plan, 0, 0), 4);
  EXPECT_TRUE(plan.short_of.empty());
}

TEST(ReplicaPlannerTest, LargerServersHoldMore) {
  const PlanInput input = empty_cluster(all_experts(4, 16), {50, 20, 10, 0});
  const PlacementPlan plan = plan_placement(input, {});
  expect_sound(input, plan);
  EXPECT_TRUE(plan.short_of.empty());
  EXPECT_GE(plan.servers[0].wanted.size(), 34);
}

}  // namespace
}  // namespace conclave
