#include "services/gateway/node_watcher.h"

#include <utility>

#include "proto/control.grpc.pb.h"
#include "services/gateway/control_status.h"
#include "services/server/control_channel.h"
#include "services/server/watch_thread.h"

namespace conclave {

class NodeWatcher::Impl {
 public:
  Impl(const std::string& control, const std::string& who, OnNodes on_nodes)
      : stub_(v1::Control::NewStub(make_control_channel(control))), on_nodes_(std::move(on_nodes)) {
    request_.set_server_id(who);
    thread_ = std::make_unique<WatchThread<v1::NodesUpdate>>(
        WatchThread<v1::NodesUpdate>::Options{.what = "attention nodes", .from = control},
        [this](grpc::ClientContext* context) { return stub_->WatchNodes(context, request_); },
        [this](const v1::NodesUpdate& update) { take(update); });
  }

 private:
  void take(const v1::NodesUpdate& update) {
    absl::StatusOr<std::vector<NodeInfo>> nodes = nodes_from(update);
    if (!nodes.ok()) return log_error("dropped news of nodes", {{"status", nodes.status()}});
    on_nodes_(*std::move(nodes),
              {.ready = update.ready(), .covered = update.covered(), .problem = update.problem()});
  }

  const std::unique_ptr<v1::Control::Stub> stub_;
  const OnNodes on_nodes_;
  v1::WatchNodesRequest request_;
  std::unique_ptr<WatchThread<v1::NodesUpdate>> thread_;  // last: it uses all of the above
};

NodeWatcher::NodeWatcher(const std::string& control, const std::string& who, OnNodes on_nodes)
    : impl_(std::make_unique<Impl>(control, who, std::move(on_nodes))) {}

NodeWatcher::~NodeWatcher() = default;

}  // namespace conclave
