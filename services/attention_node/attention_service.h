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
  // Both may be called from any thread: `on_end` with how each call ended; `is_stuck` says whether
  // the step thread hangs, and pings are UNAVAILABLE then, so that gateways go elsewhere. The loop
  // outlives the service.
  AttentionService(NodeLoop* loop, std::function<void(const absl::Status&)> on_end,
                   std::function<bool()> is_stuck)
      : loop_(loop), on_end_(std::move(on_end)), is_stuck_(std::move(is_stuck)) {
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
  const std::function<bool()> is_stuck_;
  std::atomic<uint64_t> next_id_{1};
};

}  // namespace conclave
