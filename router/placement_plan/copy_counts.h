// How many copies each expert of a layer is to have: slots go one by one to whichever expert has
// the most load a copy, which is the best that can be done with so many slots, wherever they are.
//
// Loads are those of PlanState. One thread; a copy more costs E.
#pragma once

#include <cstdint>
#include <vector>

#include "router/placement_plan/plan_state.h"

namespace conclave {

class CopyCounts {
 public:
  // Begins with `copies`, [E]; an expert with none is left out until it is given one. `state`
  // outlives this.
  CopyCounts(const PlanState* state, int32_t layer, std::vector<int32_t> copies);

  const std::vector<int32_t>& copies() const { return copies_; }  // [E]
  double highest_share() const { return share(hottest_); }

  // One more for the hottest, `num_copies` times, until it is on every server.
  void add(int64_t num_copies);
  bool can_add() const;

 private:
  double share(int32_t expert) const;
  void find_hottest();

  const PlanState& state_;
  const int32_t layer_;
  std::vector<int32_t> copies_;
  int32_t hottest_ = 0;
};

// The holders that each expert of a layer must not fall below, [E]: min_replicas, or those it has.
std::vector<int32_t> least_holders(const PlanState& state, int32_t layer);

// What a layer's highest load cannot be brought below with the copies that it has; 1 at least.
double least_load(const PlanState& state, int32_t layer);

// The same of the worst layer where all layers share all slots as is best for it.
double least_worst_load(const PlanState& state);

}  // namespace conclave
