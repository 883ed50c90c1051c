// What control knows and decides: who is in the cluster, who is to hold what, and the thread that
// plans it.
#pragma once

#include <functional>

#include "common/clock.h"
#include "gateway/membership.h"
#include "gateway/placement/placement_control.h"
#include "services/gateway/event_loop.h"
#include "services/gateway/gateway_flags.h"
#include "services/gateway/plan_thread.h"
#include "services/local/model_folder.h"

namespace conclave {

struct ControlRole {
  // Clock and loop outlive this. `on_plan` is called on the loop when placement has a plan.
  ControlRole(const ModelFolder& folder, const GatewayFlags& flags, const Clock* clock,
              EventLoop* loop, std::function<void()> on_plan);

  Membership membership;  // these are the loop's
  PlanThread planner;     // to be stopped before the loop
  PlacementControl placement;
};

}  // namespace conclave
