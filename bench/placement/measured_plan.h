// Plans for servers of one size, and how level they are.
#pragma once

#include <cstdint>
#include <vector>

#include "router/placement_plan/balance.h"
#include "router/placement_plan/replica_planner.h"

namespace conclave {

struct PlanShape {
  int32_t num_layers = 0;
  int32_t num_experts = 0;
  int32_t num_servers = 0;
  int64_t num_slots = 0;  // of all servers and layers
};

// Servers that hold nothing; the first ones have one slot more where they cannot be shared out.
PlanInput empty_input(const PlanShape& shape, const std::vector<double>& load);

// The same servers, which hold what the plan wants.
PlanInput input_holding(const PlacementPlan& plan, const PlanShape& shape,
                        const std::vector<double>& load);

// Experts that the servers of `input` would load for a plan that was made for none of them.
int64_t num_loaded(const PlanInput& input, const PlacementPlan& plan);

// Max over mean, over the layers.
struct Levels {
  double worst = 0;
  double mean = 0;
  double worst_best_split = 0;
};

Levels levels_of(const PlacementPlan& plan, const PlanShape& shape,
                 const std::vector<double>& load);

// Whether EPLB can plan for it: as many slots of each layer on every server.
bool eplb_can(const PlanShape& shape);
Levels levels_of_eplb(const PlanShape& shape, const std::vector<double>& load);

}  // namespace conclave
