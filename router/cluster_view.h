// Which expert servers there are and what each of them holds, at one moment: what control publishes
// and everyone who routes takes in. Immutable once it is out; a later view has a higher version.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/ids.h"
#include "model/weights/expert_set.h"
#include "router/placement.h"

namespace conclave {

struct PlacedServer {
  ServerId server{};
  std::string id;            // its name in the cluster
  std::string address;       // HOST:PORT
  std::string shm_endpoint;  // where processes of its machine find it; empty: nowhere
  ExpertSet held;
  bool draining = false;  // asked only for what nobody else holds

  bool operator==(const PlacedServer&) const = default;
};

struct ClusterView {
  int64_t version = 0;
  std::vector<PlacedServer> servers;  // ascending

  bool operator==(const ClusterView&) const = default;
};

// The view as a table to route by. Holders of one expert are in ascending order, those that drain
// after all that do not.
// REQUIRES: every server's set is of this shape, or empty
Placement placement_of(const ClusterView& view, int32_t num_layers, int32_t num_experts);

}  // namespace conclave
