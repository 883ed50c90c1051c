#include "services/gateway/cluster_state.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace conclave {
namespace {

// How often members are looked at for silence, and gauges are brought up to date.
constexpr absl::Duration kTick = absl::Milliseconds(500);

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
  // Before the placement goes out: orders may withdraw some of it.
  for (const PlacementControl::Order& order : parts_.placement->update()) on_order(order);
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
  if (parts_.membership != nullptr) {
    const std::vector<ServerId> silent = parts_.membership->expire();
    for (const ServerId server : silent) on_expired(server);
    members_changed();
  }
  on_tick();
  absl::Time next = parts_.clock->now() + kTick;
  if (parts_.table != nullptr) next = std::min(next, parts_.table->tick());
  return next;
}

}  // namespace conclave
