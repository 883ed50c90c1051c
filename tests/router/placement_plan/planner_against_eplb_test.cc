// Plans from nothing beside EPLB's, with the same room, for every kind of generated load, under the
// same even split:
//   - no layer's worst is above EPLB's worst, but for what is level anyway;
//   - no plan is below the lower bound, and the best split is never above the even one.

#include <gtest/gtest.h>

#include <algorithm>
#include <span>

#include "bench/placement/expert_loads.h"
#include "router/placement_plan/balance.h"
#include "router/placement_plan/eplb.h"
#include "tests/router/placement_plan/planner_fixture.h"

namespace conclave {
namespace {

constexpr int32_t kNumLayers = 6;
constexpr int32_t kNumExperts = 64;

// Below this a layer is level: what is over comes from where a search for better moves ends.
constexpr double kLevel = 1.002;

// Slots of a layer: an eighth to spare, rounded up to what EPLB can share out.
int32_t layer_slots(int32_t num_servers) {
  return (kNumExperts * 9 / 8 + num_servers - 1) / num_servers * num_servers;
}

double eplb_balance(std::span<const double> load, int32_t num_servers) {
  const int32_t num_slots = layer_slots(num_servers);
  const auto slots = eplb(load, {.num_slots = num_slots, .num_devices = num_servers});
  LayerHolders holders{.num_servers = num_servers, .of = {}};
  holders.of.resize(load.size());
  for (int32_t i = 0; i < num_slots; ++i) {
    holders.of[static_cast<size_t>(slots[static_cast<size_t>(i)])].push_back(
        i / (num_slots / num_servers));
  }
  return even_balance(holders, load);
}

void compare(const std::vector<double>& load, int32_t num_servers) {
  const int64_t of_one = int64_t{layer_slots(num_servers)} * kNumLayers / num_servers;
  PlanInput input = empty_cluster(all_experts(kNumLayers, kNumExperts),
                                  std::vector<int64_t>(static_cast<size_t>(num_servers), of_one));
  input.load = load;
  const PlacementPlan plan = plan_placement(input, {});
  expect_sound(input, plan);
  double ours = 1;
  double theirs = 1;
  for (int32_t layer = 0; layer < kNumLayers; ++layer) {
    const std::span<const double> of_layer(load.data() + layer * kNumExperts, kNumExperts);
    const LayerHolders holders = holders_of_layer(plan, layer);
    const double even = even_balance(holders, of_layer);
    EXPECT_LE(best_balance(holders, of_layer), even * (1 + 1e-9));
    ours = std::max(ours, even);
    theirs = std::max(theirs, eplb_balance(of_layer, num_servers));
  }
  const Room room{
      .num_layers = kNumLayers, .num_servers = num_servers, .num_slots = of_one * num_servers};
  EXPECT_LE(ours, std::max(theirs, kLevel));
  EXPECT_GE(ours * (1 + 1e-9), least_worst_balance(load, room));
}

TEST(PlannerAgainstEplbTest, IsAsGoodOnEveryGeneratedLoad) {
  for (LoadSpec spec : all_load_specs()) {
    spec.num_layers = kNumLayers;
    spec.num_experts = kNumExperts;
    for (const int32_t num_servers : {4, 8, 16, 32}) {
      SCOPED_TRACE(name_of(spec) + " on " + std::to_string(num_servers));
      ExpertLoads loads(spec);
      for (int step = 0; step < 3; ++step, loads.advance()) compare(loads.load(), num_servers);
    }
  }
}

}  // namespace
}  // namespace conclave
