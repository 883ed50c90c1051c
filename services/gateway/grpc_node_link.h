// The gateway's way to attention nodes: each run is one call of Attention.Run, and what comes back
// is posted to the loop as the table's events.
//
// A node with runs is asked now and then whether it is there. One that does not answer in time, for
// it hangs or its line is cut, has lost its runs as one has that was killed, and is given no more
// until it answers again. A question whose time passed while this process was itself away (it was
// stopped, its machine was) says nothing of the node: it is asked again at once.
//
// The loop's thread calls everything here; gRPC's threads only post. No call may be under way when
// this goes: cancel_all(), and wait until has_calls() says no.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
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

  static constexpr absl::Duration kPingInterval = absl::Milliseconds(150);

  // `loop` and `clock` outlive the link. A node that has not answered after `patience` is silent.
  GrpcNodeLink(EventLoop* loop, const Clock* clock, absl::Duration patience);
  ~GrpcNodeLink() override;

  // Before the first run.
  void set_listener(Listener listener) { listener_ = std::move(listener); }

  // Where the nodes are from now on.
  void set_nodes(const std::vector<NodeInfo>& nodes);

  void run(ServerId node, RunHandle handle, NodeRequest request) override;
  void cancel(RunHandle handle) override;

  // Asks the nodes whose turn it is. Returns when to call next; infinite: after the next event.
  absl::Time look();

  // Cancels every call; they end soon after, through the loop, and no more is begun.
  void cancel_all();
  bool has_calls() const { return !calls_.empty() || !pings_.empty(); }

 private:
  class Call;
  class Ping;

  struct Node {
    uint64_t incarnation = 0;
    bool is_silent = false;   // the last ping was not answered
    int32_t num_unclear = 0;  // pings in a row whose time passed while we were away
    absl::Time next_ping = absl::InfinitePast();
    std::string address;
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<v1::Attention::Stub> stub;
  };

  void on_message(RunHandle handle, const v1::RunResponse& message);
  void on_done(RunHandle handle, const grpc::Status& status);
  void on_pinged(ServerId server, uint64_t incarnation, const grpc::Status& status);
  absl::Time note_presence();
  void set_silent(ServerId server, Node* node, const grpc::Status& status);
  void lose_runs(ServerId server, uint64_t incarnation, const absl::Status& status);
  void fail_later(RunHandle handle, const absl::Status& status);
  Node* find(ServerId server, uint64_t incarnation);

  EventLoop* const loop_;
  const Clock* const clock_;
  const absl::Duration patience_;
  Listener listener_;
  std::map<ServerId, Node> nodes_;
  std::map<RunHandle, std::unique_ptr<Call>> calls_;

  // A node may go and come back as the same process while calls to it are on their way.
  using NodeKey = std::pair<ServerId, uint64_t>;  // with the incarnation
  std::map<NodeKey, int32_t> num_calls_;          // over 0
  std::map<NodeKey, std::unique_ptr<Ping>> pings_;
  absl::Time present_at_;                         // when the loop was last seen to turn
  absl::Time away_until_ = absl::InfinitePast();  // the end of the last time that it did not
  bool is_ending_ = false;
};

}  // namespace conclave
