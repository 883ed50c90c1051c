// What must hold in a world that has come to rest.

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/simulation/sim_world.h"

namespace conclave {

void SimWorld::look_over() {
  look_over_clients();
  look_over_control();
  look_over_nodes();
}

void SimWorld::look_over_clients() {
  for (const SimClient& client : clients_) {
    if (!client.ended()) {
      log_.violate(absl::StrCat("a request never ends: ", client.state()));
    } else if (!client.finished() && !client.may_fail()) {
      log_.violate(absl::StrCat("a request was lost: ", client.state()));
    }
  }
  const RequestTable& table = frontend_.table();
  if (table.num_queued() > 0 || table.num_assigned() > 0) {
    log_.violate(absl::StrFormat("the table has %d queued and %d assigned requests",
                                 table.num_queued(), table.num_assigned()));
  }
  const TableCounters& counters = table.counters();
  if (counters.num_accepted != counters.num_ended()) {
    log_.violate(absl::StrFormat("%d requests were accepted and %d ended", counters.num_accepted,
                                 counters.num_ended()));
  }
}

void SimWorld::look_over_control() {
  const Membership& membership = control_.membership();
  const size_t num_servers = servers_.size() + nodes_.size();
  if (membership.members().size() != num_servers) {
    log_.violate(absl::StrFormat("control knows %d servers of %d", membership.members().size(),
                                 num_servers));
  }
  if (!membership.coverage().complete()) {
    log_.violate("control misses " + membership.coverage().missing.to_string());
  }
  const PlacementControl::Stats placement = control_.placement().stats();
  if (placement.num_pending > 0) {
    log_.violate(absl::StrFormat("%d experts are still to be loaded or released after %s",
                                 placement.num_pending, absl::FormatDuration(placement.stuck)));
  }
}

void SimWorld::look_over_nodes() {
  const int64_t version = control_.membership().placement().version;
  for (const auto& node : nodes_) {
    const Engine& engine = node->engine();
    if (engine.num_requests() > 0) {
      log_.violate(
          absl::StrFormat("%s still has %d requests", node->name(), engine.num_requests()));
    }
    if (engine.cache().num_free_pages() != engine.cache().num_pages()) {
      log_.violate(absl::StrFormat("%s has %d pages free of %d", node->name(),
                                   engine.cache().num_free_pages(), engine.cache().num_pages()));
    }
    if (node->placement_version() != version) {
      log_.violate(absl::StrFormat("%s uses placement %d, the last is %d", node->name(),
                                   node->placement_version(), version));
    }
  }
}

}  // namespace conclave
