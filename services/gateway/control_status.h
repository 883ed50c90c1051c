// The cluster as control shows it to people (Control.GetStatus) and to frontends (WatchNodes).
// Pure functions of the loop's state.
#pragma once

#include <string>

#include "proto/control.pb.h"
#include "services/gateway/cluster_state.h"

namespace conclave {

// Everything but model and routing.
void fill_status(ClusterState* state, v1::GetStatusResponse* response);

v1::NodesUpdate nodes_update(const ClusterState& state);

// What a frontend makes of it. INVALID_ARGUMENT for nodes that do not ascend, and for what control
// would not have let in (check_node_info()): a frontend relies on it as control does.
absl::StatusOr<std::vector<NodeInfo>> nodes_from(const v1::NodesUpdate& message);

}  // namespace conclave
