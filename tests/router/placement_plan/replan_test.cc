// What a plan is to reach that starts from one made for an older load:
//   - no layer is further above the lower bound than min_gain leaves it, as from nothing, where
//     every server holds few experts of a layer and single moves end in dead ends;
//   - a small part is loaded of what a plan from nothing would move;
//   - where slots are short layers that have some to spare give them to those that lack them;
//   - it is a fixpoint, whatever was moved on the way.

#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <string>

#include "bench/placement/expert_loads.h"
#include "router/placement_plan/balance.h"
#include "tests/router/placement_plan/planner_fixture.h"

namespace conclave {
namespace {

constexpr int32_t kNumSteps = 3;

struct ReplanCase {
  LoadSpec spec;
  int32_t num_servers = 0;
  int64_t layer_slots = 0;  // of one server, of each layer
  PlanOptions options;
  double over = 1e-6;  // a share of the bound
};

double worst_even_balance(const PlanInput& input, const PlacementPlan& plan) {
  const auto num_experts = static_cast<size_t>(input.all.num_experts());
  double worst = 1;
  for (int32_t layer = 0; layer < input.all.num_layers(); ++layer) {
    const std::span<const double> load(input.load.data() + layer * num_experts, num_experts);
    worst = std::max(worst, even_balance(holders_of_layer(plan, layer), load));
  }
  return worst;
}

class ReplanTest : public testing::TestWithParam<ReplanCase> {};

TEST_P(ReplanTest, IsAsNearToTheBoundAsMinGainAllowsForFewLoads) {
  const auto& [spec, num_servers, layer_slots, options, over] = GetParam();
  const int64_t of_one = layer_slots * spec.num_layers;
  PlanInput input = empty_cluster(all_experts(spec.num_layers, spec.num_experts),
                                  std::vector<int64_t>(static_cast<size_t>(num_servers), of_one));
  const Room room{
      .num_layers = spec.num_layers, .num_servers = num_servers, .num_slots = of_one * num_servers};
  ExpertLoads loads(spec);
  input.load = loads.load();
  hold_what_is_wanted(plan_placement(input, options), &input);
  for (int32_t step = 1; step <= kNumSteps; ++step) {
    SCOPED_TRACE("step " + std::to_string(step));
    loads.advance();
    input.load = loads.load();
    const PlacementPlan plan = plan_placement(input, options);
    expect_sound(input, plan);
    EXPECT_TRUE(plan.short_of.empty());
    const double bound = least_worst_balance(input.load, room);
    EXPECT_LE(worst_even_balance(input, plan), bound / (1 - options.min_gain) * (1 + over));
    EXPECT_LE(plan.num_loads, room.num_slots / 5);
    expect_fixpoint(input, plan, options);
    hold_what_is_wanted(plan, &input);
  }
}

LoadSpec spec_of(LoadKind kind, int32_t num_layers, int32_t num_experts) {
  return {.kind = kind,
          .exponent = kind == LoadKind::kBursty ? 0.8 : 1.0,
          .num_layers = num_layers,
          .num_experts = num_experts};
}

constexpr LoadKind kDrifting = LoadKind::kDrifting;
constexpr LoadKind kBursty = LoadKind::kBursty;

INSTANTIATE_TEST_SUITE_P(
    Loads, ReplanTest,
    testing::Values(ReplanCase{spec_of(kDrifting, 8, 128), 16, 9, {}},
                    ReplanCase{spec_of(kDrifting, 8, 128), 32, 5, {}},
                    ReplanCase{spec_of(kDrifting, 8, 128), 32, 5, {.min_gain = 0.02}},
                    ReplanCase{spec_of(kBursty, 8, 128), 32, 5, {}},
                    ReplanCase{spec_of(kBursty, 8, 128), 32, 5, {.min_gain = 0.02}},
                    ReplanCase{spec_of(kDrifting, 8, 128), 72, 2, {}},
                    // Hardly a slot is left over, and those that are lie on few servers.
                    ReplanCase{spec_of(kBursty, 8, 128), 72, 2, {}, 0.01}));

}  // namespace
}  // namespace conclave
