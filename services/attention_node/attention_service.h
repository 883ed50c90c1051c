// Attention.Run as a node offers it: a call becomes a request of the step thread, and what the
// engine says becomes the call's messages. Tokens that come faster than the gateway reads wait in
// one message, so a slow reader costs its own tokens' memory and nothing else.
//
// Order of lives: the loop outlives the service, the service the grpc::Server it is registered
// with; stop the loop before the server, so that every call has an end. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "proto/attention.grpc.pb.h"
#include "router/wire/grpc_handoff.h"
#include "services/attention_node/node_loop.h"

namespace conclave {

class AttentionService final : public v1::Attention::CallbackService {
 public:
  // `on_end` is told how each call ended, from any thread. The loop outlives the service.
  AttentionService(NodeLoop* loop, std::function<void(const absl::Status&)> on_end)
      : loop_(loop), on_end_(std::move(on_end)) {
    hand_to_grpc(this);  // some of its threads ran before
  }

  grpc::ServerWriteReactor<v1::RunResponse>* Run(grpc::CallbackServerContext* context,
                                                 const v1::RunRequest* request) override;

  grpc::ServerUnaryReactor* Ping(grpc::CallbackServerContext* context,
                                 const v1::PingRequest* request,
                                 v1::PingResponse* response) override;

 private:
  NodeLoop* const loop_;
  const std::function<void(const absl::Status&)> on_end_;
  std::atomic<uint64_t> next_id_{1};
};

}  // namespace conclave
