#include "gateway/placement/placement_control.h"

#include <algorithm>
#include <numeric>
#include <utility>

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

PlacementControl::PlacementControl(const ModelConfig& config, const Clock* clock,
                                   Membership* membership, const Options& options)
    : options_(options),
      all_(ExpertSet::all(config)),
      clock_(clock),
      membership_(membership),
      started_(clock->now()),
      load_(config.num_layers, config.moe.gate.num_experts),
      changed_at_(started_),
      progress_at_(started_) {}

void PlacementControl::joined(ServerId id, const ServerFacts& facts) {
  if (facts.role != ServerRole::kExpertServer) return;
  const ExpertSet none(all_.num_layers(), all_.num_experts());
  const int64_t num_slots = facts.managed
                                ? static_cast<int64_t>(facts.capacity_bytes / facts.expert_bytes)
                                : facts.held.size();
  servers_[id] = {.managed = facts.managed,
                  .num_slots = std::max(num_slots, facts.held.size()),
                  .held = facts.held,
                  .problem = "",
                  .hold = facts.held,
                  .target = facts.held,
                  .leaving = none,
                  .picks = {}};
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
  server.order_followed = beat.holding->order;
  if (server.held != beat.holding->held) server.held = beat.holding->held;
  if (server.problem == beat.holding->problem) return;
  server.problem = beat.holding->problem;
  if (server.problem.empty()) return;
  server.closed_until = clock_->now() + options_.problem_pause;
  servers_changed();
}

void PlacementControl::count_picks(const Holding& holding, Server* server) {
  if (holding.picks.empty()) return;
  const bool is_first = server->picks.empty();  // what was picked before, nobody knows when
  const size_t num_places =
      static_cast<size_t>(all_.num_layers()) * static_cast<size_t>(all_.num_experts());
  std::vector<int64_t> deltas(num_places, 0);
  server->picks.resize(num_places, 0);
  auto told = holding.picks.begin();
  holding.held.for_each([&](int32_t layer, int32_t expert) {
    const size_t at = place(layer, expert);
    deltas[at] = *told - server->picks[at];
    server->picks[at] = *told++;
  });
  if (!is_first) load_.add(deltas, clock_->now());
}

void PlacementControl::servers_changed() {
  changed_at_ = clock_->now();
  plan_is_old_ = true;
}

std::vector<PlacementControl::Order> PlacementControl::update() {
  const absl::Time now = clock_->now();
  for (auto& [id, server] : servers_) {
    if (server.closed_until > now) continue;
    if (std::exchange(server.closed_until, absl::InfinitePast()) != absl::InfinitePast()) {
      servers_changed();
    }
  }
  if (is_time_to_plan(now)) plan(now);
  if (!may_have_orders_) return {};
  std::vector<Order> orders = make_orders();
  const int64_t num_pending = count_pending();
  if (num_pending == 0 || num_pending != num_pending_) progress_at_ = now;
  num_pending_ = num_pending;
  may_have_orders_ = num_pending > 0;
  return orders;
}

bool PlacementControl::is_time_to_plan(absl::Time now) const {
  const auto managed = [](const auto& entry) { return entry.second.managed; };
  if (std::none_of(servers_.begin(), servers_.end(), managed)) return false;
  // Where nobody holds anything there is nobody to wait for.
  const auto holds = [](const auto& entry) { return !entry.second.held.empty(); };
  const bool is_back =
      std::none_of(servers_.begin(), servers_.end(), holds) || now - started_ >= options_.grace;
  if (!is_back) return false;
  if (!plan_is_old_) return is_worth_balancing(now) || stats().stuck > options_.patience;
  const bool lacks = membership_->ever_covered() && !membership_->coverage().complete();
  return now - changed_at_ >= (lacks ? options_.repair : options_.settle);
}

bool PlacementControl::is_worth_balancing(absl::Time now) const {
  return num_pending_ == 0 && now - planned_at_ >= options_.rebalance &&
         !load_to_plan_by(now).empty();
}

// Empty where there were too few picks to tell anything.
std::vector<double> PlacementControl::load_to_plan_by(absl::Time now) const {
  std::vector<double> load = load_.load(now);
  const double sum = std::accumulate(load.begin(), load.end(), 0.0);
  if (sum < kTellingPicks * static_cast<double>(all_.size())) load.clear();
  return load;
}

// Because of servers that come and go only what must move moves; the load alone has its own time.
void PlacementControl::plan(absl::Time now) {
  PlanOptions options;
  if (plan_is_old_ || num_pending_ > 0) options.min_gain = kNever;
  plan_is_old_ = false;
  progress_at_ = now;
  planned_at_ = now;
  ++num_plans_;
  may_have_orders_ = true;
  for (auto& [id, server] : servers_) server.target = server.held;
  PlacementPlan plan = plan_placement(plan_input(now), options);
  for (ServerPlan& part : plan.servers) {
    Server& server = servers_.at(part.server);
    if (server.managed) server.target = std::move(part.wanted);
  }
  num_short_ = plan.short_of.size();
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
    const ExpertSet& held = is_closed ? server.held : server.hold;
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
    if (takes_new) slots.push_back(server.num_slots);
    if (takes_new) continue;
    server.held.for_each([&](int32_t layer, int32_t expert) { ++fixed[place(layer, expert)]; });
  }
  auto budget = static_cast<int64_t>(options_.spare * static_cast<double>(all_.size()));
  all_.for_each([&](int32_t layer, int32_t expert) {
    budget += std::max(0, options_.min_replicas - fixed[place(layer, expert)]);
  });
  return slot_level(slots, budget);
}

int64_t PlacementControl::num_to_load(ServerId id) const {
  const auto found = servers_.find(id);
  return found == servers_.end() ? 0 : found->second.hold.minus(found->second.held).size();
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
