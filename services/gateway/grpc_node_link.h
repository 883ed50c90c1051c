// The gateway's way to attention nodes: each run is one call of Attention.Run, and what comes back
// is posted to the loop as the table's events.
//
// The loop's thread calls everything here; gRPC's threads only post. No call may be under way when
// this goes: cancel_all(), and wait until has_calls() says no.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "gateway/node_link.h"
#include "gateway/server_facts.h"
#include "proto/attention.grpc.pb.h"
#include "services/gateway/event_loop.h"

namespace conclave {

class GrpcNodeLink final : public NodeLink {
 public:
  // Where events go, on the loop's thread: the request table's functions of the same names.
  struct Listener {
    std::function<void(RunHandle, RunBatch)> on_tokens;
    std::function<void(RunHandle, RunEnd)> on_run_finished;
    std::function<void(RunHandle, const absl::Status&)> on_run_failed;
  };

  // `loop` and `clock` outlive the link.
  GrpcNodeLink(EventLoop* loop, const Clock* clock);
  ~GrpcNodeLink() override;

  // Before the first run.
  void set_listener(Listener listener) { listener_ = std::move(listener); }

  // Where the nodes are from now on.
  void set_nodes(const std::vector<NodeInfo>& nodes);

  void run(ServerId node, RunHandle handle, NodeRequest request) override;
  void cancel(RunHandle handle) override;

  // Cancels every call; they end soon after, through the loop.
  void cancel_all();
  bool has_calls() const { return !calls_.empty(); }

 private:
  class Call;

  struct Node {
    uint64_t incarnation = 0;
    std::string address;
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<v1::Attention::Stub> stub;
  };

  void on_message(RunHandle handle, const v1::RunResponse& message);
  void on_done(RunHandle handle, const grpc::Status& status);

  EventLoop* const loop_;
  const Clock* const clock_;
  Listener listener_;
  std::map<ServerId, Node> nodes_;
  std::map<RunHandle, std::unique_ptr<Call>> calls_;
};

}  // namespace conclave
