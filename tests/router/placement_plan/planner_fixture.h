// What the tests of plan_placement() share: inputs, and what every plan must keep.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "router/placement_plan/replica_planner.h"

namespace conclave {

inline ExpertSet all_experts(int32_t num_layers, int32_t num_experts) {
  ExpertSet all(num_layers, num_experts);
  for (int32_t layer = 0; layer < num_layers; ++layer) {
    for (int32_t e = 0; e < num_experts; ++e) all.insert(layer, e);
  }
  return all;
}

// Empty servers, numbered from 0, with so many slots each.
inline PlanInput empty_cluster(ExpertSet all, const std::vector<int64_t>& slots) {
  PlanInput input{.all = std::move(all), .servers = {}, .load = {}};
  for (size_t s = 0; s < slots.size(); ++s) {
    input.servers.push_back({.server = ServerId{static_cast<int32_t>(s)},
                             .num_slots = slots[s],
                             .held = ExpertSet(input.all.num_layers(), input.all.num_experts())});
  }
  return input;
}

inline void hold_what_is_wanted(const PlacementPlan& plan, PlanInput* input) {
  for (size_t s = 0; s < plan.servers.size(); ++s) {
    input->servers[s].held = plan.servers[s].wanted;
  }
}

inline int32_t num_holders(const PlacementPlan& plan, int32_t layer, int32_t expert) {
  return static_cast<int32_t>(std::count_if(
      plan.servers.begin(), plan.servers.end(),
      [&](const ServerPlan& server) { return server.wanted.contains(layer, expert); }));
}

// Every pair of layer and expert in `all` that has fewer holders than `enough`.
inline ExpertSet held_by_fewer(const PlanInput& input, const PlacementPlan& plan, int32_t enough) {
  ExpertSet few(input.all.num_layers(), input.all.num_experts());
  for (int32_t layer = 0; layer < input.all.num_layers(); ++layer) {
    for (int32_t e = 0; e < input.all.num_experts(); ++e) {
      if (input.all.contains(layer, e) && num_holders(plan, layer, e) < enough) {
        few.insert(layer, e);
      }
    }
  }
  return few;
}

// No server over its slots, none changed that takes nothing, and the plan's own figures right.
inline void expect_sound(const PlanInput& input, const PlacementPlan& plan) {
  ASSERT_EQ(plan.servers.size(), input.servers.size());
  int64_t num_loads = 0;
  for (size_t s = 0; s < input.servers.size(); ++s) {
    const PlannedServer& server = input.servers[s];
    const ExpertSet& wanted = plan.servers[s].wanted;
    EXPECT_EQ(plan.servers[s].server, server.server);
    EXPECT_TRUE(wanted.minus(input.all).empty());
    num_loads += wanted.minus(server.held).size();
    if (server.takes_new) {
      EXPECT_LE(wanted.size(), server.num_slots);
    } else {
      EXPECT_EQ(wanted, server.held);
    }
  }
  EXPECT_EQ(plan.num_loads, num_loads);
  EXPECT_EQ(plan.short_of, held_by_fewer(input, plan, std::max(input.min_replicas, 1)));
}

inline void expect_same(const PlacementPlan& a, const PlacementPlan& b) {
  ASSERT_EQ(a.servers.size(), b.servers.size());
  for (size_t s = 0; s < a.servers.size(); ++s) {
    EXPECT_EQ(a.servers[s].wanted, b.servers[s].wanted) << "server " << s;
  }
  EXPECT_EQ(a.short_of, b.short_of);
}

// Where servers hold what is wanted, the same is wanted.
inline void expect_fixpoint(PlanInput input, const PlacementPlan& plan,
                            const PlanOptions& options = {}) {
  hold_what_is_wanted(plan, &input);
  const PlacementPlan again = plan_placement(input, options);
  expect_same(plan, again);
  EXPECT_EQ(again.num_loads, 0);
}

}  // namespace conclave
