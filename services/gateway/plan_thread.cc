#include "services/gateway/plan_thread.h"

#include <memory>
#include <utility>

namespace conclave {

// Through shared pointers, for events are copied.
void PlanThread::start(PlanInput input, const PlanOptions& options) {
  const auto asked = std::make_shared<const PlanInput>(std::move(input));
  thread_.post([this, asked, options] {
    const auto plan = std::make_shared<PlacementPlan>(plan_placement(*asked, options));
    home_->post([this, plan] {
      plan_ = std::move(*plan);
      on_plan_();
    });
  });
}

}  // namespace conclave
