// What a plan moves when something changes, from a placement that was planned:
//   - a server lost: the experts that need a holder are loaded, and nothing else where balance is
//     not worth it;
//   - a server joined: it alone loads, and takes a share of every layer's load;
//   - another load: nothing moves for less than min_gain, and few for more;
//   - one that takes nothing new is given nothing.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "bench/placement/expert_loads.h"
#include "router/placement_plan/balance.h"
#include "tests/router/placement_plan/planner_fixture.h"

namespace conclave {
namespace {

constexpr int32_t kNumLayers = 6;
constexpr int32_t kNumExperts = 64;
constexpr PlanOptions kNeverForBalance{.min_gain = 1.0};

// Seven servers with room for a third more than all experts twice, filled by a plan.
class PlanMovesTest : public testing::TestWithParam<int32_t> {
 protected:
  void SetUp() override {
    input_.load = loads_.load();
    input_.min_replicas = GetParam();
    const PlacementPlan plan = plan_placement(input_, {});
    ASSERT_TRUE(plan.short_of.empty());
    expect_fixpoint(input_, plan);
    hold_what_is_wanted(plan, &input_);
  }

  // Copies that experts lack.
  int64_t num_lacking() const {
    int64_t lacking = 0;
    for (int32_t layer = 0; layer < kNumLayers; ++layer) {
      for (int32_t e = 0; e < kNumExperts; ++e) {
        const auto holders =
            std::count_if(input_.servers.begin(), input_.servers.end(),
                          [&](const PlannedServer& s) { return s.held.contains(layer, e); });
        lacking += std::max<int64_t>(input_.min_replicas - holders, 0);
      }
    }
    return lacking;
  }

  double worst_even_balance(const PlacementPlan& plan) const {
    double worst = 1;
    for (int32_t layer = 0; layer < kNumLayers; ++layer) {
      const std::span<const double> load(input_.load.data() + layer * kNumExperts, kNumExperts);
      worst = std::max(worst, even_balance(holders_of_layer(plan, layer), load));
    }
    return worst;
  }

  ExpertLoads loads_{{.kind = LoadKind::kDrifting,
                      .exponent = 1.0,
                      .num_layers = kNumLayers,
                      .num_experts = kNumExperts}};
  PlanInput input_ =
      empty_cluster(all_experts(kNumLayers, kNumExperts), {150, 150, 150, 150, 150, 150, 150});
};

TEST_P(PlanMovesTest, OfALostServerOnlyWhatIsLackingIsLoaded) {
  input_.servers.erase(input_.servers.begin() + 2);
  const int64_t lacking = num_lacking();
  ASSERT_GT(lacking, 0);
  const PlacementPlan plan = plan_placement(input_, kNeverForBalance);
  EXPECT_EQ(plan.num_loads, lacking);
  EXPECT_TRUE(plan.short_of.empty());
  for (size_t s = 0; s < input_.servers.size(); ++s) {
    EXPECT_TRUE(input_.servers[s].held.minus(plan.servers[s].wanted).empty());
  }
  expect_fixpoint(input_, plan, kNeverForBalance);
}

TEST_P(PlanMovesTest, BalanceAfterALossCostsLittle) {
  input_.servers.erase(input_.servers.begin() + 2);
  const int64_t lacking = num_lacking();
  const PlacementPlan plan = plan_placement(input_, {});
  EXPECT_LE(plan.num_loads, lacking + lacking / 3);
  EXPECT_LE(worst_even_balance(plan), 1.12);
  expect_fixpoint(input_, plan);
}

TEST_P(PlanMovesTest, AServerThatJoinsTakesAShareAndOthersLoadNothing) {
  input_.servers.push_back({.server = ServerId{9}, .num_slots = 150, .held = {}});
  const PlacementPlan plan = plan_placement(input_, kNeverForBalance);
  EXPECT_EQ(plan.num_loads, plan.servers.back().wanted.size());
  EXPECT_TRUE(plan.short_of.empty());
  for (int32_t layer = 0; layer < kNumLayers; ++layer) {
    const std::span<const double> load(input_.load.data() + layer * kNumExperts, kNumExperts);
    const LayerHolders holders = holders_of_layer(plan, layer);
    double all = 0;
    double its = 0;
    for (int32_t e = 0; e < kNumExperts; ++e) {
      const auto& of = holders.of[e];
      all += load[e];
      if (std::find(of.begin(), of.end(), 7) != of.end()) {
        its += load[e] / static_cast<double>(of.size());
      }
    }
    EXPECT_GE(its * 8 / all, 0.75) << "layer " << layer;
  }
  expect_fixpoint(input_, plan, kNeverForBalance);
}

TEST_P(PlanMovesTest, AServerThatTakesNothingNewIsGivenNothing) {
  input_.servers[3].takes_new = false;
  input_.servers.erase(input_.servers.begin() + 2);
  const PlacementPlan plan = plan_placement(input_, {});
  expect_sound(input_, plan);
  EXPECT_TRUE(plan.short_of.empty());
}

TEST_P(PlanMovesTest, AnotherLoadMovesNothingThatIsNotWorthIt) {
  for (int i = 0; i < 4; ++i) loads_.advance();
  input_.load = loads_.load();
  EXPECT_EQ(plan_placement(input_, kNeverForBalance).num_loads, 0);
}

TEST_P(PlanMovesTest, AnotherLoadMovesLittleForMuch) {
  for (int step = 0; step < 8; ++step) {
    SCOPED_TRACE("step " + std::to_string(step));
    loads_.advance();
    input_.load = loads_.load();
    const PlacementPlan kept = plan_placement(input_, kNeverForBalance);
    const PlacementPlan plan = plan_placement(input_, {});
    expect_sound(input_, plan);
    EXPECT_TRUE(plan.short_of.empty());
    EXPECT_LE(plan.num_loads, input_.all.size() / 8);
    EXPECT_LE(worst_even_balance(plan), worst_even_balance(kept) * (1 + 1e-9));
    EXPECT_LE(worst_even_balance(plan), 1.12);
    expect_fixpoint(input_, plan);
    hold_what_is_wanted(plan, &input_);
  }
}

INSTANTIATE_TEST_SUITE_P(MinReplicas, PlanMovesTest, testing::Values(1, 2));

}  // namespace
}  // namespace conclave
