// Makes placement control's plans on a thread of its own, so that the gateway's loop goes on.
#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "common/clock.h"
#include "gateway/placement/plan_maker.h"
#include "services/gateway/event_loop.h"

namespace conclave {

class PlanThread final : public PlanMaker {
 public:
  // Starts the thread. `on_plan` is called on `home` when take() has a plan; both outlive this.
  PlanThread(const Clock* clock, EventLoop* home, std::function<void()> on_plan)
      : home_(home), on_plan_(std::move(on_plan)), thread_(clock) {}

  // Waits for a plan that is being made. Before `home` is stopped: its events use this.
  void stop() { thread_.stop(); }

  // On `home`.
  void start(PlanInput input, const PlanOptions& options) override;
  std::optional<PlacementPlan> take() override { return std::exchange(plan_, std::nullopt); }

 private:
  EventLoop* const home_;
  const std::function<void()> on_plan_;
  std::optional<PlacementPlan> plan_;  // of home's thread

  EventLoop thread_;  // last: its events use all of the above
};

}  // namespace conclave
