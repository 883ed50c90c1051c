#include "gateway/placement/placement_control.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace conclave {
namespace {

// Changes that do not end put a plan off as often as this, not for ever.
constexpr int kMostSettling = 5;

}  // namespace

PlacementControl::PlacementControl(const ModelConfig& config, const Parts& parts,
                                   const Options& options)
    : options_(options),
      all_(ExpertSet::all(config)),
      clock_(parts.clock),
      membership_(parts.membership),
      planner_(parts.planner),
      started_(clock_->now()),
      load_(config.num_layers, config.moe.gate.num_experts),
      first_change_(started_),
      last_change_(started_),
      progress_at_(started_) {}

void PlacementControl::joined(ServerId id, const ServerFacts& facts) {
  if (facts.role != ServerRole::kExpertServer) return;
  const int64_t num_slots = facts.managed
                                ? static_cast<int64_t>(facts.capacity_bytes / facts.expert_bytes)
                                : facts.held.size();
  Server& server = servers_[id];
  server = {.managed = facts.managed,
            .num_slots = std::max(num_slots, facts.held.size()),
            .orders = ServerOrders(facts.held),
            .target = facts.held,
            .problem = "",
            .picks = {}};
  // It may be loading what a control before this one asked for.
  if (server.managed) tell_view(id, server);
  servers_changed();
}

void PlacementControl::left(ServerId id) {
  if (servers_.erase(id) > 0) servers_changed();
}

void PlacementControl::heard(ServerId id, const Heartbeat& beat) {
  const auto found = servers_.find(id);
  if (found == servers_.end()) return;
  Server& server = found->second;
  if (std::exchange(server.draining, beat.draining) != beat.draining) servers_changed();
  if (!beat.holding) return;
  count_picks(*beat.holding, &server);
  if (!server.orders.is_settled(server.target)) may_have_orders_ = true;
  if (server.orders.heard(*beat.holding)) {
    may_have_orders_ = true;
    progress_at_ = clock_->now();
  }
  take_problem(*beat.holding, &server);
}

// The same words of a later order are another failure.
void PlacementControl::take_problem(const Holding& holding, Server* server) {
  const bool is_known =
      holding.problem == server->problem && holding.order == server->problem_order;
  server->problem = holding.problem;
  server->problem_order = holding.order;
  if (is_known || holding.problem.empty()) return;
  server->closed_until = clock_->now() + options_.problem_pause;
  servers_changed();
}

void PlacementControl::count_picks(const Holding& holding, Server* server) {
  if (holding.picks.empty()) return;
  const size_t num_places =
      static_cast<size_t>(all_.num_layers()) * static_cast<size_t>(all_.num_experts());
  std::vector<int64_t> deltas(num_places, 0);
  server->picks.resize(num_places, -1);
  auto told = holding.picks.begin();
  holding.held.for_each([&](int32_t layer, int32_t expert) {
    const size_t at = place(layer, expert);
    if (server->picks[at] >= 0) deltas[at] = std::max<int64_t>(0, *told - server->picks[at]);
    server->picks[at] = *told++;
  });
  load_.add(deltas, clock_->now());
}

void PlacementControl::servers_changed() {
  last_change_ = clock_->now();
  if (!plan_is_old_) first_change_ = last_change_;
  plan_is_old_ = true;
}

std::vector<PlacementControl::Order> PlacementControl::update() {
  const absl::Time now = clock_->now();
  reopen(now);
  if (!is_planning_ && is_time_to_plan(now)) start_plan(now);
  if (is_planning_) {
    std::optional<PlacementPlan> plan = planner_->take();
    if (!plan) return {};
    adopt(*std::move(plan));
  }
  if (!may_have_orders_) return {};
  std::vector<Order> orders = make_orders();
  num_pending_ = count_pending();
  if (num_pending_ == 0) progress_at_ = now;
  may_have_orders_ = !is_settled();
  return orders;
}

// Those that could not load and have had their pause are told again what they are to hold, also
// where the plan is the same.
void PlacementControl::reopen(absl::Time now) {
  for (auto& [id, server] : servers_) {
    if (server.closed_until == absl::InfinitePast() || server.closed_until > now) continue;
    server.closed_until = absl::InfinitePast();
    server.is_to_be_told = !server.problem.empty();
    servers_changed();
  }
}

bool PlacementControl::is_time_to_plan(absl::Time now) const {
  const auto managed = [](const auto& entry) { return entry.second.managed; };
  if (std::none_of(servers_.begin(), servers_.end(), managed)) return false;
  // Where nobody holds anything there is nobody to wait for.
  const auto holds = [](const auto& entry) { return !entry.second.orders.held().empty(); };
  const bool is_back =
      std::none_of(servers_.begin(), servers_.end(), holds) || now - started_ >= options_.grace;
  if (!is_back) return false;
  if (!plan_is_old_) {
    const bool is_stuck = stats().stuck > options_.patience;
    return is_worth_balancing(now) || (is_stuck && now - planned_at_ > options_.patience);
  }
  const bool lacks = membership_->ever_covered() && !membership_->coverage().complete();
  const absl::Duration wait = lacks ? options_.repair : options_.settle;
  return now - last_change_ >= wait || now - first_change_ >= kMostSettling * wait;
}

bool PlacementControl::is_worth_balancing(absl::Time now) const {
  return !may_have_orders_ && now - planned_at_ >= options_.rebalance &&
         !load_to_plan_by(now).empty();
}

bool PlacementControl::is_settled() const {
  return std::all_of(servers_.begin(), servers_.end(), [](const auto& entry) {
    const Server& server = entry.second;
    return !server.managed || server.orders.is_settled(server.target);
  });
}

int64_t PlacementControl::num_to_load(ServerId id) const {
  const auto found = servers_.find(id);
  if (found == servers_.end()) return 0;
  const ServerOrders& orders = found->second.orders;
  return orders.hold().minus(orders.held()).size();
}

int64_t PlacementControl::num_to_release(ServerId id) const {
  const auto found = servers_.find(id);
  if (found == servers_.end()) return 0;
  const ServerOrders& orders = found->second.orders;
  return orders.held().minus(orders.hold()).size();
}

PlacementControl::Stats PlacementControl::stats() const {
  return {.num_plans = num_plans_,
          .num_pending = num_pending_,
          .stuck = num_pending_ == 0 ? absl::ZeroDuration() : clock_->now() - progress_at_,
          .num_short = num_short_};
}

size_t PlacementControl::place(int32_t layer_idx, int32_t expert) const {
  return static_cast<size_t>(layer_idx) * static_cast<size_t>(all_.num_experts()) +
         static_cast<size_t>(expert);
}

}  // namespace conclave
