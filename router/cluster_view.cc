#include "router/cluster_view.h"

#include "common/check.h"

namespace conclave {
namespace {

void add_held(const PlacedServer& server, Placement* placement) {
  if (server.held.empty()) return;
  CHECK(server.held.num_layers() == placement->num_layers());
  CHECK(server.held.num_experts() == placement->num_experts());
  server.held.for_each([&](int32_t layer, int32_t expert) {
    placement->add(layer, expert, server.server, server.draining);
  });
}

}  // namespace

Placement placement_of(const ClusterView& view, int32_t num_layers, int32_t num_experts) {
  Placement placement(num_layers, num_experts, view.version);
  for (const bool draining : {false, true}) {
    for (const PlacedServer& server : view.servers) {
      if (server.draining == draining) add_held(server, &placement);
    }
  }
  return placement;
}

}  // namespace conclave
