#include "gateway/membership.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "gateway/names.h"
#include "model/numeric_profile.h"

namespace conclave {
namespace {

constexpr absl::Duration kLookInterval = absl::Seconds(1);  // of expire(), at most

bool same_order(const std::optional<Holding>& a, const std::optional<Holding>& b) {
  if (!a || !b) return a.has_value() == b.has_value();
  return a->order == b->order && a->problem == b->problem;
}

}  // namespace

Membership::Membership(const ModelConfig& config, const Clock* clock, Options options)
    : options_(std::move(options)),
      all_(ExpertSet::all(config)),
      clock_(clock),
      last_roll_(clock->now()),
      last_expire_(clock->now()) {
  view_.version = options_.first_version;
  update_coverage();
}

absl::Status Membership::heartbeat(ServerId server, Heartbeat beat) {
  const auto found = members_.find(server);
  if (found == members_.end()) {
    return absl::NotFoundError(absl::StrFormat("server %d is not in the cluster (any more)",
                                               static_cast<int32_t>(server)));
  }
  RETURN_IF_ERROR(check_heartbeat(beat, all_.num_layers()));
  Member& member = found->second;
  if (beat.holding) {
    RETURN_IF_ERROR(check_holding(*beat.holding, member.facts, all_));
  }
  const bool holds_else = beat.holding && take_holding(*beat.holding, &member);
  const bool drain_changed = member.last.draining != beat.draining;
  if (drain_changed || !same_order(member.last.holding, beat.holding)) ++num_changes_;
  const int64_t acknowledged_before = acknowledged();
  // Control was started again, and its clock had gone back.
  const bool version_is_old = member.is_node() && beat.placement_version > view_.version &&
                              beat.placement_version <= kMaxAdoptedVersion;
  if (version_is_old) view_.version = beat.placement_version;
  member.heard = clock_->now();
  member.picks.record(beat.experts.picks);
  member.last = std::move(beat);
  if (version_is_old || holds_else || (drain_changed && !member.is_node())) change_view();
  if (acknowledged() != acknowledged_before) ++num_changes_;
  roll_picks();
  return absl::OkStatus();
}

bool Membership::take_holding(const Holding& holding, Member* member) {
  member->facts.held_bytes = holding.held_bytes;
  if (member->facts.held == holding.held) return false;
  member->facts.held = holding.held;
  return true;
}

void Membership::withdraw(ServerId server, ExpertSet experts) {
  const auto found = members_.find(server);
  if (found == members_.end()) return;
  Member& member = found->second;
  const bool shows_else =
      member.facts.held.minus(experts) != member.facts.held.minus(member.withdrawn);
  member.withdrawn = std::move(experts);
  if (shows_else) change_view();
}

void Membership::router_uses(int64_t version) {
  const int64_t before = acknowledged();
  router_version_ = version;
  if (acknowledged() != before) ++num_changes_;
}

int64_t Membership::acknowledged() const {
  int64_t lowest = std::min(view_.version, router_version_.value_or(view_.version));
  for (const auto& [server, member] : members_) {
    if (member.is_node()) lowest = std::min(lowest, member.last.placement_version);
  }
  return lowest;
}

void Membership::leave(ServerId server) {
  const auto found = members_.find(server);
  if (found != members_.end()) erase(found);
}

std::vector<ServerId> Membership::expire() {
  roll_picks();
  forgive_own_absence();
  const absl::Time oldest = clock_->now() - options_.silence_limit;
  std::vector<ServerId> silent;
  for (const auto& [server, member] : members_) {
    if (member.heard < oldest) silent.push_back(server);
  }
  for (const ServerId server : silent) leave(server);
  return silent;
}

void Membership::forgive_own_absence() {
  const absl::Time now = clock_->now();
  const absl::Duration away = now - std::exchange(last_expire_, now);
  if (away <= std::max(kLookInterval, options_.silence_limit / 2)) return;
  for (auto& [server, member] : members_) member.heard = std::min(now, member.heard + away);
}

void Membership::erase(std::map<ServerId, Member>::iterator member) {
  const bool is_node = member->second.is_node();
  members_.erase(member);
  ++num_changes_;
  update_exact();
  if (!is_node) change_view();
}

// A new view, in which everything is as the members say now.
void Membership::change_view() {
  ++view_.version;
  ++num_changes_;
  view_.servers.clear();
  for (const auto& [server, member] : members_) {
    if (member.is_node()) continue;
    view_.servers.push_back({.server = server,
                             .id = member.facts.id,
                             .address = member.facts.address,
                             .shm_endpoint = member.facts.shm_endpoint,
                             .held = member.facts.held.minus(member.withdrawn),
                             .draining = member.last.draining});
  }
  update_coverage();
  update_replaced();
}

void Membership::update_coverage() {
  ExpertSet covered(all_.num_layers(), all_.num_experts());
  for (const PlacedServer& server : view_.servers) covered.insert_all(server.held);
  coverage_ = {
      .num_covered = covered.size(), .num_total = all_.size(), .missing = all_.minus(covered)};
  ever_covered_ = ever_covered_ || coverage_.complete();
}

void Membership::update_replaced() {
  ExpertSet steady(all_.num_layers(), all_.num_experts());
  for (const PlacedServer& server : view_.servers) {
    if (!server.draining) steady.insert_all(server.held);
  }
  for (auto& [server, member] : members_) {
    if (member.is_node()) continue;
    const bool replaced = member.last.draining && member.facts.held.minus(steady).empty();
    if (!replaced) {
      member.replaced_at.reset();
    } else if (!member.replaced_at) {
      member.replaced_at = view_.version;
    }
  }
}

// Agreeing is not transitive (an expert server says less than a node), so every pair counts. Equal
// profiles count once: a cluster has few that differ.
void Membership::update_exact() {
  std::vector<const NumericProfile*> profiles;
  for (const auto& [server, member] : members_) {
    const NumericProfile& profile = member.facts.profile;
    const bool seen = std::any_of(profiles.begin(), profiles.end(),
                                  [&](const NumericProfile* other) { return *other == profile; });
    if (!seen) profiles.push_back(&profile);
  }
  exact_ = true;
  for (const NumericProfile* a : profiles) {
    for (const NumericProfile* b : profiles) exact_ = exact_ && agree(*a, *b).ok();
  }
}

bool Membership::may_leave(ServerId server) const {
  const auto found = members_.find(server);
  if (found == members_.end() || !found->second.last.draining) return false;
  const Member& leaver = found->second;
  if (leaver.is_node()) {
    return leaver.last.node.num_running == 0 && leaver.last.node.num_waiting == 0;
  }
  const bool has_nodes = std::any_of(members_.begin(), members_.end(),
                                     [](const auto& entry) { return entry.second.is_node(); });
  return !has_nodes || (leaver.replaced_at && acknowledged() >= *leaver.replaced_at);
}

std::vector<NodeInfo> Membership::nodes() const {
  std::vector<NodeInfo> nodes;
  for (const auto& [server, member] : members_) {
    if (!member.is_node()) continue;
    nodes.push_back({.server = server,
                     .incarnation = member.facts.incarnation,
                     .id = member.facts.id,
                     .address = member.facts.address,
                     .draining = member.last.draining,
                     .cache_tokens = member.facts.cache_tokens,
                     .max_requests = member.facts.max_requests,
                     .load = member.last.node});
  }
  return nodes;
}

std::vector<MemberStatus> Membership::members() const {
  const absl::Time now = clock_->now();
  std::vector<MemberStatus> all;
  for (const auto& [server, member] : members_) {
    all.push_back({.server = server,
                   .facts = &member.facts,
                   .last = member.last,
                   .silence = now - member.heard});
  }
  return all;
}

void Membership::roll_picks() {
  const absl::Time now = clock_->now();
  if (now - last_roll_ < options_.pick_window / 2) return;
  last_roll_ = now;
  for (auto& [server, member] : members_) member.picks.roll();
}

std::vector<double> Membership::layer_imbalance() const {
  std::vector<double> layers(static_cast<size_t>(all_.num_layers()), 0.0);
  for (int32_t layer = 0; layer < all_.num_layers(); ++layer) {
    std::vector<int64_t> picks;
    for (const auto& [server, member] : members_) {
      if (member.is_node() || member.facts.held.spans(layer).empty()) continue;
      picks.push_back(member.picks.recent(layer));
    }
    layers[static_cast<size_t>(layer)] = imbalance(picks);
  }
  return layers;
}

}  // namespace conclave
