// Control as a gateway offers it: calls become events of the loop, where the membership lives.
// Lines and watchers over the limits are RESOURCE_EXHAUSTED at once, and a line that does not say
// who it is in time is DEADLINE_EXCEEDED.
//
// Order of lives: loop and state outlive the service, the service the grpc::Server. Let go of the
// calls with shutdown() before the server's own shutdown, and keep the loop until that has
// returned.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "model/config/model_config.h"
#include "proto/control.grpc.pb.h"
#include "services/gateway/cluster_state.h"
#include "services/gateway/event_loop.h"
#include "services/gateway/watch_call.h"

namespace conclave {

class ControlService final : public v1::Control::CallbackService {
 public:
  struct Options {
    std::string model;  // its name
    std::string routing;
    absl::Duration heartbeat = absl::Milliseconds(500);
    absl::Duration hello_timeout = absl::Seconds(10);  // of a line that has not said who it is
    size_t max_lines = 4096 + 512;  // as many as there may be members, and some that come
    size_t max_watchers = 8192;     // of placements, and of nodes
  };

  // All outlive the service. Hooks itself into the state's listeners.
  ControlService(EventLoop* loop, ClusterState* state, const ModelConfig* config,
                 const Options& options);
  ~ControlService() override;

  // Ends every stream with UNAVAILABLE. Any thread; the streams end through the loop.
  void shutdown();

  grpc::ServerBidiReactor<v1::RegisterRequest, v1::RegisterResponse>* Register(
      grpc::CallbackServerContext* context) override;
  grpc::ServerWriteReactor<v1::PlacementUpdate>* WatchPlacement(
      grpc::CallbackServerContext* context, const v1::WatchPlacementRequest* request) override;
  grpc::ServerWriteReactor<v1::NodesUpdate>* WatchNodes(
      grpc::CallbackServerContext* context, const v1::WatchNodesRequest* request) override;
  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context,
                                      const v1::GetStatusRequest* request,
                                      v1::GetStatusResponse* response) override;

 private:
  class RegisterCall;

  // The loop's thread.
  void join(RegisterCall* call, const v1::Hello& hello);
  void beat(RegisterCall* call, const v1::Heartbeat& heartbeat);
  void gone(RegisterCall* call);
  void push_placement();
  void push_nodes();
  void let_go(ServerId server);
  void give_order(const PlacementControl::Order& order);
  void end_lines_without_hello();

  EventLoop* const loop_;
  ClusterState* const state_;
  const ModelConfig* const config_;
  const Options options_;

  // The loop's.
  std::set<RegisterCall*> calls_;
  std::map<ServerId, RegisterCall*> members_;
  std::set<WatchCall<v1::PlacementUpdate>*> placement_watchers_;
  std::set<WatchCall<v1::NodesUpdate>*> node_watchers_;
  bool stopping_ = false;
};

}  // namespace conclave
