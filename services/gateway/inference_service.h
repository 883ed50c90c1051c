// Inference as a gateway offers it to clients. A call goes through two threads: the text thread
// reads and tokenizes it, so that a long text holds up nobody's heartbeat, then the loop has it.
//
// Order of lives: everything in Parts outlives the service, the service the grpc::Server. End the
// requests (RequestTable::fail_all) before the server's shutdown, and keep both threads until that
// has returned.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <random>
#include <string>

#include "common/clock.h"
#include "proto/inference.grpc.pb.h"
#include "services/gateway/cluster_state.h"
#include "services/gateway/event_loop.h"
#include "services/gateway/inference_codec.h"

namespace conclave {

class InferenceService final : public v1::Inference::CallbackService {
 public:
  struct Parts {
    EventLoop* loop = nullptr;
    EventLoop* text = nullptr;
    ClusterState* state = nullptr;
    const Clock* clock = nullptr;
    ServedModel model;
    std::function<void()> on_invalid = [] {};  // a request that cannot be; any thread
  };
  struct Options {
    absl::Duration request_timeout = absl::Minutes(10);
    int32_t max_texts = 1024;  // calls that wait for the text thread
    absl::Duration retry_hint = absl::Seconds(1);
  };

  InferenceService(const Parts& parts, const Options& options);

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext* context, const v1::GenerateRequest* request) override;
  grpc::ServerUnaryReactor* Score(grpc::CallbackServerContext* context,
                                  const v1::ScoreRequest* request,
                                  v1::ScoreResponse* response) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override;
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context,
                                       const v1::DetokenizeRequest* request,
                                       v1::DetokenizeResponse* response) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* Cancel(grpc::CallbackServerContext* context,
                                   const v1::CancelRequest* request,
                                   v1::CancelResponse* response) override;

 private:
  class GenerateCall;
  class ScoreCall;

  // The text thread. Runs `work`, or says RESOURCE_EXHAUSTED while too many wait.
  void on_text_thread(std::function<void(const absl::Status&)> work);

  // The text thread: gives the request what its message did not have.
  void complete(const grpc::CallbackServerContext& context, GatewayRequest* request);

  // Gives it to the table, on the loop; a request that is not taken fails at its sink.
  void submit(GatewayRequest request, ClientSink* sink);

  grpc::Status to_grpc_with_hint(const absl::Status& status, grpc::CallbackServerContext* context);

  const Parts parts_;
  const Options options_;
  std::atomic<int32_t> num_texts_{0};
  std::mt19937_64 random_;  // the text thread's
  const uint64_t instance_;
  uint64_t num_requests_ = 0;  // the text thread's
};

}  // namespace conclave
