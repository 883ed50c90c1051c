// Follows the attention nodes that a control role elsewhere knows (Control.WatchNodes), for a
// gateway that is a frontend only. A thread of its own; the stream is started again when it breaks,
// with pauses from 100 ms to 2 s, and meanwhile the last news stand.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "services/gateway/cluster_state.h"

namespace conclave {

class NodeWatcher {
 public:
  using OnNodes = std::function<void(std::vector<NodeInfo>, ClusterSummary)>;

  // Starts the thread, which calls `on_nodes` in the order of arrival.
  NodeWatcher(const std::string& control, const std::string& who, OnNodes on_nodes);

  // Ends the stream and joins the thread: no call comes after.
  ~NodeWatcher();

  NodeWatcher(const NodeWatcher&) = delete;
  NodeWatcher& operator=(const NodeWatcher&) = delete;

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace conclave
