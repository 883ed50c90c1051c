// What to plan, and from what.

#include <algorithm>
#include <numeric>
#include <utility>

#include "gateway/placement/placement_control.h"
#include "gateway/placement/slot_budget.h"

namespace conclave {
namespace {

// Fewer picks than this of every expert, on average, say more about chance than about load.
constexpr double kTellingPicks = 16;

constexpr double kNever = 1;  // no move gains as much

// Slots that a server may use where `level` is what all need. One that holds somewhat more keeps
// it, for letting it go would only move experts.
int64_t slots_of(int64_t num_held, int64_t level) {
  return num_held <= level + level / 4 ? std::max(level, num_held) : level;
}

}  // namespace

// Empty where there were too few picks to tell anything.
std::vector<double> PlacementControl::load_to_plan_by(absl::Time now) const {
  std::vector<double> load = load_.load(now);
  const double sum = std::accumulate(load.begin(), load.end(), 0.0);
  if (sum < kTellingPicks * static_cast<double>(all_.size())) load.clear();
  return load;
}

// Because of servers that come and go only what must move moves; the load alone has its own time.
void PlacementControl::start_plan(absl::Time now) {
  PlanOptions options;
  if (plan_is_old_ || num_pending_ > 0) options.min_gain = kNever;
  plan_is_old_ = false;
  planned_at_ = now;
  ++num_plans_;
  is_planning_ = true;
  planner_->start(plan_input(now), options);
}

// Who has come meanwhile keeps what it has until the next plan, which is due for that.
void PlacementControl::adopt(PlacementPlan plan) {
  is_planning_ = false;
  for (auto& [id, server] : servers_) server.target = server.orders.held();
  for (ServerPlan& part : plan.servers) {
    const auto found = servers_.find(part.server);
    if (found == servers_.end() || !found->second.managed || found->second.draining) continue;
    found->second.target = std::move(part.wanted);
  }
  num_short_ = plan.short_of.size();
  may_have_orders_ = true;
  if (num_pending_ == 0) progress_at_ = clock_->now();
}

// Those that drain are left out. What a server was ordered to load counts as held, or every plan
// would begin from another place.
PlanInput PlacementControl::plan_input(absl::Time now) const {
  PlanInput input{.all = all_,
                  .servers = {},
                  .load = load_to_plan_by(now),
                  .min_replicas = options_.min_replicas};
  const int64_t level = slots_to_use(now);
  for (const auto& [id, server] : servers_) {
    if (server.draining) continue;
    const bool is_closed = server.closed_until > now;
    const bool takes_new = server.managed && !is_closed;
    const ExpertSet& held = is_closed ? server.orders.held() : server.orders.hold();
    const int64_t num_slots = std::min(server.num_slots, slots_of(held.size(), level));
    input.servers.push_back({.server = id,
                             .num_slots = takes_new ? num_slots : held.size(),
                             .held = held,
                             .takes_new = takes_new});
  }
  return input;
}

// The copies that are asked for and that no server has that takes nothing new, and the share to
// spare.
int64_t PlacementControl::slots_to_use(absl::Time now) const {
  std::vector<int32_t> fixed(
      static_cast<size_t>(all_.num_layers()) * static_cast<size_t>(all_.num_experts()), 0);
  std::vector<int64_t> slots;
  for (const auto& [id, server] : servers_) {
    if (server.draining) continue;
    const bool takes_new = server.managed && server.closed_until <= now;
    if (takes_new) {
      slots.push_back(server.num_slots);
      continue;
    }
    server.orders.held().for_each(
        [&](int32_t layer, int32_t expert) { ++fixed[place(layer, expert)]; });
  }
  auto budget = static_cast<int64_t>(options_.spare * static_cast<double>(all_.size()));
  all_.for_each([&](int32_t layer, int32_t expert) {
    budget += std::max(0, options_.min_replicas - fixed[place(layer, expert)]);
  });
  return slot_level(slots, budget);
}

}  // namespace conclave
