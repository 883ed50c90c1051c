#include "services/attention_node/attention_service.h"

#include <utility>

#include "attention/request.h"
#include "router/wire/grpc_handoff.h"
#include "router/wire/grpc_status.h"
#include "services/server/call_queue.h"
#include "services/server/request_codec.h"

namespace conclave {
namespace {

using RequestFinish = Finish;  // gRPC's reactor has a function of that name

// One call: the engine's observer on one side, gRPC's reactor on the other. It deletes itself in
// OnDone(), which comes after Finish(), which comes after the engine's last word.
class RunCall final : public grpc::ServerWriteReactor<v1::RunResponse>, public RequestObserver {
 public:
  using OnEnd = std::function<void(const absl::Status&)>;

  RunCall(NodeLoop* loop, RequestId id, const OnEnd* on_end)
      : loop_(loop), id_(id), on_end_(on_end) {
    hand_to_grpc(this);
  }

  void start(const v1::RunRequest& message) {
    Request request{.id = id_,
                    .prompt = {message.prompt().begin(), message.prompt().end()},
                    .sampling = from_proto(message.sampling()),
                    .priority = message.priority(),
                    .generated = {message.generated().begin(), message.generated().end()},
                    .forced = {message.forced().begin(), message.forced().end()},
                    .score_only = message.score_only(),
                    .observer = this};
    const absl::Status status = loop_->submit(std::move(request));
    if (!status.ok()) end(status);
  }

  // The step thread.
  void on_prompt_logprobs(std::vector<Logprobs> logprobs) override {
    v1::RunResponse message;
    for (const Logprobs& one : logprobs) to_proto(one, message.add_prompt_logprobs());
    act(queue_.push(std::move(message)));
  }

  void on_token(const GeneratedToken& token) override {
    v1::RunResponse message;
    message.add_ids(token.id);
    if (token.logprobs) to_proto(*token.logprobs, message.add_logprobs());
    act(queue_.push(std::move(message)));
  }

  void on_finished(const RequestFinish& finish) override {
    switch (finish.reason) {
      case FinishReason::kStopId:
        return end_well(v1::RunResponse::FINISH_STOP_ID);
      case FinishReason::kLength:
        return end_well(v1::RunResponse::FINISH_LENGTH);
      case FinishReason::kCancelled:
        return end(absl::CancelledError("the request was cancelled"));
      case FinishReason::kError:
        return end(finish.status);
    }
  }

  // gRPC's threads.
  void OnWriteDone(bool ok) override {
    const GrpcReaction reaction(this);
    act(queue_.written(ok));
  }
  void OnCancel() override {
    const GrpcReaction reaction(this);
    loop_->cancel(id_);
  }
  void OnDone() override {
    take_from_grpc(this);
    delete this;
  }

 private:
  using Queue = CallQueue<v1::RunResponse>;

  static bool merge(v1::RunResponse* last, v1::RunResponse* next) {
    last->MergeFrom(*next);
    return true;
  }

  void end_well(v1::RunResponse::Finish finish) {
    v1::RunResponse message;
    message.set_finished(finish);
    act(queue_.push(std::move(message)));
    end(absl::OkStatus());
  }

  void end(const absl::Status& status) {
    (*on_end_)(status);
    act(queue_.end(status));
  }

  // Nothing of this object is touched after Finish().
  void act(const Queue::Action& action) {
    hand_to_grpc(this);
    if (action.write != nullptr) return StartWrite(action.write);
    if (action.finish) Finish(to_grpc(*action.finish));
  }

  NodeLoop* const loop_;
  const RequestId id_;
  const OnEnd* const on_end_;
  Queue queue_{&RunCall::merge};
};

}  // namespace

grpc::ServerWriteReactor<v1::RunResponse>* AttentionService::Run(grpc::CallbackServerContext*,
                                                                 const v1::RunRequest* request) {
  take_from_grpc(this);
  auto* const call = new RunCall(loop_, RequestId{next_id_.fetch_add(1)}, &on_end_);
  call->start(*request);
  return call;
}

grpc::ServerUnaryReactor* AttentionService::Ping(grpc::CallbackServerContext* context,
                                                 const v1::PingRequest*, v1::PingResponse*) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(is_stuck_() ? to_grpc(absl::UnavailableError("the step thread is stuck"))
                              : grpc::Status::OK);
  return reactor;
}

}  // namespace conclave
