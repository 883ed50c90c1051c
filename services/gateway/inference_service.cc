#include "services/gateway/inference_service.h"

#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "gateway/names.h"
#include "router/wire/grpc_handoff.h"
#include "router/wire/grpc_status.h"
#include "services/server/call_queue.h"
#include "services/server/request_codec.h"

namespace conclave {
namespace {

std::mt19937_64 seeded_from_device() {
  std::random_device device;
  std::seed_seq seed{device(), device(), device(), device()};
  return std::mt19937_64(seed);
}

}  // namespace

// A client's stream: the table's sink on one side, gRPC's reactor on the other. Its end goes
// through both threads, behind everything that was posted about it.
class InferenceService::GenerateCall final : public grpc::ServerWriteReactor<v1::GenerateResponse>,
                                             public ClientSink {
 public:
  GenerateCall(InferenceService* service, grpc::CallbackServerContext* context,
               const v1::GenerateRequest* message)
      : service_(service), context_(context), message_(message) {
    hand_to_grpc(this);
    service->on_text_thread([this](const absl::Status& status) { read(status); });
  }

  // ClientSink: the loop's thread.
  void on_started(const GatewayRequest& request) override {
    v1::GenerateResponse response;
    v1::GenerateStarted* const started = response.mutable_started();
    started->set_request_id(request.id);
    started->set_seed(request.sampling.seed);
    started->set_num_prompt_tokens(static_cast<int32_t>(request.prompt.size()));
    act(queue_.push(std::move(response)));
  }
  void on_delta(AnswerDelta delta) override {
    v1::GenerateResponse response;
    to_proto(delta, response.mutable_delta());
    act(queue_.push(std::move(response)));
  }
  void on_finished(const AnswerFinish& finish) override {
    v1::GenerateResponse response;
    to_proto(finish, response.mutable_finished());
    act(queue_.push(std::move(response)));
    end(absl::OkStatus());
  }
  void on_failed(const absl::Status& status) override { end(status); }

  // gRPC's threads.
  void OnWriteDone(bool ok) override {
    const GrpcReaction reaction(this);
    act(queue_.written(ok));
  }
  void OnCancel() override {
    const GrpcReaction reaction(this);
    // Behind the submission, which may still be with the text thread.
    service_->parts_.text->post([this] {
      service_->parts_.loop->post([this] {
        service_->parts_.state->table()->client_gone(id_, this);
        end(absl::CancelledError("the client is gone"));
      });
    });
  }
  void OnDone() override {
    take_from_grpc(this);
    service_->parts_.text->post([this] { service_->parts_.loop->post([this] { delete this; }); });
  }

 private:
  // The text thread.
  void read(const absl::Status& status) {
    if (!status.ok()) return end(status);
    absl::StatusOr<GatewayRequest> request =
        to_request(*message_, service_->parts_.model, service_->random_());
    if (!request.ok()) {
      service_->parts_.on_invalid();
      return end(request.status());
    }
    service_->complete(*context_, &*request);
    id_ = request->id;
    service_->submit(*std::move(request), this);
  }

  void end(const absl::Status& status) { act(queue_.end(status)); }

  void act(const CallQueue<v1::GenerateResponse>::Action& action) {
    hand_to_grpc(this);
    if (action.write != nullptr) return StartWrite(action.write);
    if (action.finish) Finish(service_->to_grpc_with_hint(*action.finish, context_));
  }

  InferenceService* const service_;
  grpc::CallbackServerContext* const context_;
  const v1::GenerateRequest* const message_;
  std::string id_;  // written by the text thread before the loop has the request
  CallQueue<v1::GenerateResponse> queue_{merge_deltas};
};

// As GenerateCall, but everything is gathered into one answer.
class InferenceService::ScoreCall final : public grpc::ServerUnaryReactor, public ClientSink {
 public:
  ScoreCall(InferenceService* service, grpc::CallbackServerContext* context,
            const v1::ScoreRequest* message, v1::ScoreResponse* response)
      : service_(service), context_(context), message_(message), response_(response) {
    hand_to_grpc(this);
    service->on_text_thread([this](const absl::Status& status) { read(status); });
  }

  void on_started(const GatewayRequest& request) override {
    response_->set_request_id(request.id);
    response_->mutable_ids()->Add(request.prompt.begin(), request.prompt.end());
    response_->mutable_ids()->Add(request.forced.begin(), request.forced.end());
  }
  void on_delta(AnswerDelta delta) override {
    for (const Logprobs& one : delta.prompt_logprobs) to_proto(one, response_->add_logprobs());
    for (const Logprobs& one : delta.logprobs) to_proto(one, response_->add_logprobs());
  }
  void on_finished(const AnswerFinish&) override { end(absl::OkStatus()); }
  void on_failed(const absl::Status& status) override { end(status); }

  void OnCancel() override {
    const GrpcReaction reaction(this);
    service_->parts_.text->post([this] {
      service_->parts_.loop->post([this] {
        service_->parts_.state->table()->client_gone(id_, this);
        end(absl::CancelledError("the client is gone"));
      });
    });
  }
  void OnDone() override {
    take_from_grpc(this);
    service_->parts_.text->post([this] { service_->parts_.loop->post([this] { delete this; }); });
  }

 private:
  void read(const absl::Status& status) {
    if (!status.ok()) return end_on_loop(status);
    absl::StatusOr<GatewayRequest> request = to_request(*message_, service_->parts_.model);
    if (!request.ok()) {
      service_->parts_.on_invalid();
      return end_on_loop(request.status());
    }
    service_->complete(*context_, &*request);
    id_ = request->id;
    service_->submit(*std::move(request), this);
  }

  void end_on_loop(const absl::Status& status) {
    service_->parts_.loop->post([this, status] { end(status); });
  }

  // The loop's thread; the first end counts.
  void end(const absl::Status& status) {
    if (std::exchange(ended_, true)) return;
    hand_to_grpc(this);
    Finish(service_->to_grpc_with_hint(status, context_));
  }

  InferenceService* const service_;
  grpc::CallbackServerContext* const context_;
  const v1::ScoreRequest* const message_;
  v1::ScoreResponse* const response_;
  std::string id_;
  bool ended_ = false;
};

InferenceService::InferenceService(const Parts& parts, const Options& options)
    : parts_(parts), options_(options), random_(seeded_from_device()), instance_(random_()) {}

grpc::ServerWriteReactor<v1::GenerateResponse>* InferenceService::Generate(
    grpc::CallbackServerContext* context, const v1::GenerateRequest* request) {
  return new GenerateCall(this, context, request);
}

grpc::ServerUnaryReactor* InferenceService::Score(grpc::CallbackServerContext* context,
                                                  const v1::ScoreRequest* request,
                                                  v1::ScoreResponse* response) {
  return new ScoreCall(this, context, request, response);
}

grpc::ServerUnaryReactor* InferenceService::Tokenize(grpc::CallbackServerContext* context,
                                                     const v1::TokenizeRequest* request,
                                                     v1::TokenizeResponse* response) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  on_text_thread([=, this](const absl::Status& room) {
    absl::Status status = room;
    if (status.ok()) status = check_model(request->model(), parts_.model);
    if (status.ok()) {
      const auto ids = tokenize(request->text(), parts_.model);
      status = ids.status();
      if (ids.ok()) response->mutable_ids()->Add(ids->begin(), ids->end());
    }
    reactor->Finish(to_grpc_with_hint(status, context));
  });
  return reactor;
}

grpc::ServerUnaryReactor* InferenceService::Detokenize(grpc::CallbackServerContext* context,
                                                       const v1::DetokenizeRequest* request,
                                                       v1::DetokenizeResponse* response) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  on_text_thread([=, this](const absl::Status& room) {
    absl::Status status = room;
    if (status.ok()) status = check_model(request->model(), parts_.model);
    if (status.ok()) {
      const absl::StatusOr<std::string> text = detokenize(
          {request->ids().begin(), request->ids().end()}, request->skip_special(), parts_.model);
      status = text.status();
      if (text.ok()) response->set_text(*text);
    }
    reactor->Finish(to_grpc_with_hint(status, context));
  });
  return reactor;
}

grpc::ServerUnaryReactor* InferenceService::ListModels(grpc::CallbackServerContext* context,
                                                       const v1::ListModelsRequest*,
                                                       v1::ListModelsResponse* response) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  parts_.loop->post([=, this] {
    const ModelFolder& folder = *parts_.model.folder;
    v1::Model* const model = response->add_models();
    model->set_name(parts_.model.name);
    model->set_family(folder.config.family);
    model->set_context_length(folder.config.max_positions);
    model->set_vocab_size(folder.config.vocab_size);
    model->set_serves_text(folder.tokenizer != nullptr);
    model->set_ready(parts_.state->summary().covered && !parts_.state->nodes().empty());
    reactor->Finish(grpc::Status::OK);
  });
  return reactor;
}

grpc::ServerUnaryReactor* InferenceService::Cancel(grpc::CallbackServerContext* context,
                                                   const v1::CancelRequest* request,
                                                   v1::CancelResponse*) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  parts_.loop->post([=, this] {
    const bool found = parts_.state->table()->cancel(request->request_id());
    reactor->Finish(found ? grpc::Status::OK
                          : to_grpc(absl::NotFoundError(absl::StrFormat(
                                "no request %s is under way", in_quotes(request->request_id())))));
  });
  return reactor;
}

void InferenceService::on_text_thread(std::function<void(const absl::Status&)> work) {
  if (num_texts_.fetch_add(1) >= options_.max_texts) {
    num_texts_.fetch_sub(1);
    return work(absl::ResourceExhaustedError(
        absl::StrFormat("%d requests wait to be read, the limit", options_.max_texts)));
  }
  parts_.text->post([this, work = std::move(work)] {
    num_texts_.fetch_sub(1);
    work(absl::OkStatus());
  });
}

void InferenceService::submit(GatewayRequest request, ClientSink* sink) {
  parts_.loop->post([this, request = std::move(request), sink] {
    const absl::Status taken = parts_.state->table()->submit(request, sink);
    if (!taken.ok()) sink->on_failed(taken);
  });
}

void InferenceService::complete(const grpc::CallbackServerContext& context,
                                GatewayRequest* request) {
  if (request->id.empty()) request->id = absl::StrFormat("%016x-%d", instance_, ++num_requests_);
  const absl::Duration client_time = absl::FromChrono(context.deadline()) - absl::Now();
  request->deadline = parts_.clock->now() + std::min(client_time, options_.request_timeout);
}

grpc::Status InferenceService::to_grpc_with_hint(const absl::Status& status,
                                                 grpc::CallbackServerContext* context) {
  if (absl::IsResourceExhausted(status)) {
    context->AddTrailingMetadata(
        "grpc-retry-pushback-ms",
        absl::StrFormat("%d", absl::ToInt64Milliseconds(options_.retry_hint)));
  }
  return to_grpc(status);
}

}  // namespace conclave
