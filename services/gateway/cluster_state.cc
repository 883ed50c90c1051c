#include "services/gateway/cluster_state.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace conclave {
namespace {

// How often members are looked at for silence, and gauges are brought up to date.
constexpr absl::Duration kTick = absl::Milliseconds(500);

// Between two times that load alone is told.
constexpr absl::Duration kLoadInterval = absl::Milliseconds(50);

// A change of the servers is planned for after a moment, and not a tick later: orders are asked for
// this often, for as long as a plan may be due.
constexpr absl::Duration kOrdersInterval = absl::Milliseconds(100);
constexpr absl::Duration kPlansWithin = absl::Seconds(2);

ClusterSummary summarize(const Membership& membership) {
  const Coverage& coverage = membership.coverage();
  ClusterSummary summary{.ready = membership.ever_covered(), .covered = coverage.complete()};
  if (!coverage.complete()) {
    summary.problem = absl::StrCat("no server holds ", coverage.missing.to_string());
  }
  return summary;
}

}  // namespace

void ClusterState::members_changed() {
  if (parts_.membership->num_changes() != changes_told_ || parts_.clock->now() >= next_load_) {
    tell();
  } else {
    load_waits_ = true;
  }
}

void ClusterState::give_orders() {
  next_orders_ = parts_.clock->now() + kOrdersInterval;
  for (const PlacementControl::Order& order : parts_.placement->update()) on_order(order);
}

void ClusterState::tell() {
  const absl::Time now = parts_.clock->now();
  if (parts_.membership->num_changes() != changes_told_) orders_until_ = now + kPlansWithin;
  // Before the placement goes out: orders may withdraw some of it.
  give_orders();
  changes_told_ = parts_.membership->num_changes();
  next_load_ = now + kLoadInterval;
  load_waits_ = false;
  nodes_changed(parts_.membership->nodes(), summarize(*parts_.membership));
  if (publishes_nodes()) on_nodes();
  if (!publishes_placement() || parts_.membership->placement().version == version_) return;
  version_ = parts_.membership->placement().version;
  on_placement();
}

void ClusterState::nodes_changed(const std::vector<NodeInfo>& nodes,
                                 const ClusterSummary& summary) {
  nodes_ = nodes;
  summary_ = summary;
  if (parts_.table != nullptr) {
    // The link first: the table may start runs on nodes that are new.
    parts_.link->set_nodes(nodes_);
    parts_.table->set_cluster_problem(summary_.problem);
    parts_.table->nodes_changed(nodes_);
  }
}

absl::Time ClusterState::tick() {
  const absl::Time now = parts_.clock->now();
  const bool is_due = now >= next_tick_;
  if (is_due) next_tick_ = now + kTick;
  if (is_due && parts_.membership != nullptr) {
    const std::vector<ServerId> silent = parts_.membership->expire();
    for (const ServerId server : silent) on_expired(server);
    tell();
  }
  if (is_due) on_tick();
  if (is_due) on_look();
  absl::Time next = next_tick_;
  if (parts_.membership != nullptr) next = std::min(next, tick_members(now));
  if (parts_.table != nullptr) next = std::min(next, parts_.table->tick());
  return next;
}

// What does not wait for the next tick.
absl::Time ClusterState::tick_members(absl::Time now) {
  const bool is_moving = now < orders_until_ || parts_.placement->stats().num_pending > 0;
  if (is_moving && now >= next_orders_) give_orders();
  if (parts_.membership->num_changes() != changes_told_ || (load_waits_ && now >= next_load_)) {
    tell();
  }
  absl::Time next = absl::InfiniteFuture();
  if (is_moving) next = next_orders_;
  if (load_waits_) next = std::min(next, next_load_);
  return next;
}

}  // namespace conclave
