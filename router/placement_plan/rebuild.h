// Out of a dead end: where no single move takes load off a layer's busiest server, a few servers
// are emptied of the layer and filled anew, and what does not turn out better is taken back.
//
// For loads that are due wherever they go, or that are paid for: anything on servers that take new
// may move. Deterministic: the servers come from a generator with a fixed seed. One thread. A try
// costs what levelling a layer does.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "router/placement_plan/level.h"
#include "router/placement_plan/plan_state.h"

namespace conclave {

class LayerRebuild {
 public:
  // All outlive this.
  LayerRebuild(PlanState* state, Leveler* leveler, int32_t layer);

  // What no server can be brought below that has the most to do, with the copies that the layer
  // had when this was made, and how much somebody has over that: where it is nothing there is
  // nothing to try for.
  double least_load() const { return least_load_; }
  double over() const;

  // Whether it found something better.
  bool try_once();

 private:
  PlanState& state_;
  Leveler& leveler_;
  const int32_t layer_;
  const std::vector<int32_t> least_;  // [E] holders that each expert keeps
  const double least_load_;
  std::minstd_rand random_;
};

}  // namespace conclave
