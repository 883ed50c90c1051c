#include "services/gateway/grpc_node_link.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <chrono>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "router/wire/grpc_handoff.h"
#include "router/wire/grpc_status.h"
#include "services/server/request_codec.h"

namespace conclave {
namespace {

// The table watches deadlines itself; the call's own is for when the gateway is gone.
constexpr absl::Duration kDeadlineSlack = absl::Seconds(5);

std::shared_ptr<grpc::Channel> connect(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetMaxReceiveMessageSize(-1);  // prompt logprobs of a long text
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

v1::RunRequest to_message(const NodeRequest& request) {
  v1::RunRequest message;
  message.set_request_id(request.id);
  message.mutable_prompt()->Add(request.prompt.begin(), request.prompt.end());
  to_proto(request.sampling, message.mutable_sampling());
  message.set_priority(request.priority);
  message.mutable_generated()->Add(request.generated.begin(), request.generated.end());
  message.mutable_forced()->Add(request.forced.begin(), request.forced.end());
  message.set_score_only(request.score_only);
  return message;
}

}  // namespace

// Owned by the link until its OnDone() has been through the loop.
class GrpcNodeLink::Call final : public grpc::ClientReadReactor<v1::RunResponse> {
 public:
  Call(GrpcNodeLink* link, RunHandle handle, v1::RunRequest request)
      : link_(link), handle_(handle), request_(std::move(request)) {}

  void start(v1::Attention::Stub* stub, std::optional<absl::Duration> time_left) {
    if (time_left) {
      context_.set_deadline(std::chrono::system_clock::now() +
                            absl::ToChronoMicroseconds(*time_left));
    }
    stub->async()->Run(&context_, &request_, this);
    hand_to_grpc(this);
    StartRead(&message_);
    StartCall();
  }

  void cancel() {
    hand_to_grpc(this);
    context_.TryCancel();
  }

  void OnReadDone(bool ok) override {
    const GrpcReaction reaction(this);
    if (!ok) return;
    auto message = std::make_shared<v1::RunResponse>();  // std::function must be copyable
    message->Swap(&message_);
    link_->loop_->post(
        [link = link_, handle = handle_, message] { link->on_message(handle, *message); });
    hand_to_grpc(this);
    StartRead(&message_);
  }

  void OnDone(const grpc::Status& status) override {
    take_from_grpc(this);
    link_->loop_->post([link = link_, handle = handle_, status] { link->on_done(handle, status); });
  }

 private:
  GrpcNodeLink* const link_;
  const RunHandle handle_;
  const v1::RunRequest request_;
  grpc::ClientContext context_;
  v1::RunResponse message_;
};

GrpcNodeLink::GrpcNodeLink(EventLoop* loop, const Clock* clock) : loop_(loop), clock_(clock) {}

GrpcNodeLink::~GrpcNodeLink() { CHECK(calls_.empty()); }

void GrpcNodeLink::set_nodes(const std::vector<NodeInfo>& nodes) {
  std::map<ServerId, Node> kept;
  for (const NodeInfo& info : nodes) {
    const auto known = nodes_.find(info.server);
    if (known != nodes_.end() && known->second.incarnation == info.incarnation &&
        known->second.address == info.address) {
      kept[info.server] = std::move(known->second);
      continue;
    }
    Node& node = kept[info.server];
    node.incarnation = info.incarnation;
    node.address = info.address;
    node.channel = connect(info.address);
    node.stub = v1::Attention::NewStub(node.channel);
  }
  nodes_ = std::move(kept);
}

void GrpcNodeLink::run(ServerId node, RunHandle handle, NodeRequest request) {
  const auto found = nodes_.find(node);
  if (found == nodes_.end()) {
    loop_->post([this, node, handle] {
      listener_.on_run_failed(
          handle, absl::UnavailableError(
                      absl::StrCat("attention node ", static_cast<int32_t>(node), " is gone")));
    });
    return;
  }
  std::optional<absl::Duration> time_left;
  if (request.deadline != absl::InfiniteFuture()) {
    time_left = request.deadline - clock_->now() + kDeadlineSlack;
  }
  auto call = std::make_unique<Call>(this, handle, to_message(request));
  call->start(found->second.stub.get(), time_left);
  calls_[handle] = std::move(call);
}

void GrpcNodeLink::cancel(RunHandle handle) {
  const auto call = calls_.find(handle);
  if (call != calls_.end()) call->second->cancel();
}

void GrpcNodeLink::cancel_all() {
  for (const auto& [handle, call] : calls_) call->cancel();
}

void GrpcNodeLink::on_message(RunHandle handle, const v1::RunResponse& message) {
  RunBatch batch{.ids = {message.ids().begin(), message.ids().end()},
                 .logprobs = from_proto(message.logprobs()),
                 .prompt_logprobs = from_proto(message.prompt_logprobs())};
  if (!batch.ids.empty() || !batch.prompt_logprobs.empty()) {
    listener_.on_tokens(handle, std::move(batch));
  }
  if (message.finished() == v1::RunResponse::FINISH_UNSPECIFIED) return;
  listener_.on_run_finished(handle, message.finished() == v1::RunResponse::FINISH_STOP_ID
                                        ? RunEnd::kStopId
                                        : RunEnd::kLength);
}

// A run that said it is finished is none of the table's any more, so that a failure is not heard.
void GrpcNodeLink::on_done(RunHandle handle, const grpc::Status& status) {
  calls_.erase(handle);
  listener_.on_run_failed(
      handle, status.ok() ? absl::UnavailableError("the attention node ended without an answer")
                          : from_grpc(status));
}

}  // namespace conclave
