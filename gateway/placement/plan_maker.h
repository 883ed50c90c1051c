// Who makes placement control's plans. A plan for a large model takes seconds, in which whoever has
// a loop to keep going makes it elsewhere.
#pragma once

#include <optional>
#include <utility>

#include "router/placement_plan/replica_planner.h"

namespace conclave {

class PlanMaker {
 public:
  virtual ~PlanMaker() = default;

  // REQUIRES: the plan before was taken
  virtual void start(PlanInput input, const PlanOptions& options) = 0;

  // The plan, once, when it is made.
  virtual std::optional<PlacementPlan> take() = 0;
};

// At once, in start().
class PlanMakerHere final : public PlanMaker {
 public:
  void start(PlanInput input, const PlanOptions& options) override {
    plan_ = plan_placement(input, options);
  }
  std::optional<PlacementPlan> take() override { return std::exchange(plan_, std::nullopt); }

 private:
  std::optional<PlacementPlan> plan_;
};

}  // namespace conclave
