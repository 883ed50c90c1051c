#include "services/gateway/grpc_node_link.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "router/wire/frame.h"
#include "router/wire/grpc_status.h"
#include "services/gateway/grpc_node_calls.h"
#include "services/server/log.h"
#include "services/server/request_codec.h"

namespace conclave {
namespace {

// The table watches deadlines itself; the call's own is for when the gateway is gone.
constexpr absl::Duration kDeadlineSlack = absl::Seconds(5);

// While pings are under way the loop turns this often, so that one that did not turn for longer
// than kAway was away.
constexpr absl::Duration kTurn = absl::Milliseconds(100);
constexpr absl::Duration kAway = absl::Milliseconds(250);

// gRPC ends a ping that is over its time by this much later, at most: otherwise it was gRPC's
// threads that were away.
constexpr absl::Duration kPingSlack = absl::Milliseconds(250);

// After so many questions without a clear answer in a row the node is taken for silent all the
// same: a machine that is always late would never lose one.
constexpr int32_t kMaxUnclear = 3;

std::shared_ptr<grpc::Channel> connect(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetMaxReceiveMessageSize(kMaxFrameBytes);  // the most that a node's door sends
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

GrpcNodeLink::GrpcNodeLink(EventLoop* loop, const Clock* clock, absl::Duration patience)
    : loop_(loop), clock_(clock), patience_(patience), present_at_(clock->now()) {}

GrpcNodeLink::~GrpcNodeLink() { CHECK(!has_calls()); }

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
  if (found == nodes_.end() || found->second.is_silent) {
    fail_later(handle, absl::UnavailableError(
                           absl::StrCat("attention node ", static_cast<int32_t>(node),
                                        found == nodes_.end() ? " is gone" : " does not answer")));
    return;
  }
  std::optional<absl::Duration> time_left;
  if (request.deadline != absl::InfiniteFuture()) {
    time_left = request.deadline - clock_->now() + kDeadlineSlack;
  }
  ++num_calls_[{node, found->second.incarnation}];
  auto call =
      std::make_unique<Call>(this, handle, node, found->second.incarnation, to_message(request));
  call->start(found->second.stub.get(), time_left);
  calls_[handle] = std::move(call);
}

void GrpcNodeLink::fail_later(RunHandle handle, const absl::Status& status) {
  loop_->post([this, handle, status] { listener_.on_run_failed(handle, status); });
}

GrpcNodeLink::Node* GrpcNodeLink::find(ServerId server, uint64_t incarnation) {
  const auto found = nodes_.find(server);
  const bool is_there = found != nodes_.end() && found->second.incarnation == incarnation;
  return is_there ? &found->second : nullptr;
}

absl::Time GrpcNodeLink::look() {
  const absl::Time now = note_presence();
  absl::Time next = absl::InfiniteFuture();
  for (auto& [server, node] : nodes_) {
    const NodeKey key(server, node.incarnation);
    const bool is_of_interest = node.is_silent || num_calls_.count(key) > 0;
    if (is_ending_ || !is_of_interest || pings_.count(key) > 0) continue;
    if (now < node.next_ping) {
      next = std::min(next, node.next_ping);
      continue;
    }
    auto ping = std::make_unique<Ping>(this, server, node.incarnation);
    ping->start(node.stub.get(), patience_);
    pings_[key] = std::move(ping);
  }
  return pings_.empty() ? next : std::min(next, now + kTurn);
}

// What the loop was busy with does not matter: for as long it heard no answers.
absl::Time GrpcNodeLink::note_presence() {
  const absl::Time now = clock_->now();
  if (now - std::exchange(present_at_, now) > kAway) away_until_ = now;
  return now;
}

// Any other status is an answer, if only of an older node that does not know the question.
void GrpcNodeLink::on_pinged(ServerId server, uint64_t incarnation, const grpc::Status& status) {
  const absl::Time now = note_presence();
  const auto ping = pings_.find({server, incarnation});
  const absl::Time started = ping->second->started;
  pings_.erase(ping);
  Node* const node = find(server, incarnation);
  if (node == nullptr || is_ending_) return;
  const bool is_over_time = status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED;
  const bool was_away = away_until_ > started || now - started > patience_ + kPingSlack;
  if (is_over_time && was_away && ++node->num_unclear <= kMaxUnclear) {
    node->next_ping = now;
    return;
  }
  node->num_unclear = 0;
  node->next_ping = now + kPingInterval;
  if (is_over_time || status.error_code() == grpc::StatusCode::UNAVAILABLE) {
    set_silent(server, node, status);
  } else {
    node->is_silent = false;
  }
}

void GrpcNodeLink::set_silent(ServerId server, Node* node, const grpc::Status& status) {
  if (!std::exchange(node->is_silent, true)) {
    log_warn("an attention node does not answer",
             {{"server_no", static_cast<int32_t>(server)}, {"status", from_grpc(status)}});
  }
  lose_runs(server, node->incarnation,
            absl::UnavailableError(absl::StrCat("attention node ", static_cast<int32_t>(server),
                                                " does not answer: ", status.error_message())));
}

// The calls end by themselves, of no interest to the table any more.
void GrpcNodeLink::lose_runs(ServerId server, uint64_t incarnation, const absl::Status& status) {
  std::vector<RunHandle> lost;
  for (const auto& [handle, call] : calls_) {
    if (call->server == server && call->incarnation == incarnation) lost.push_back(handle);
  }
  for (const RunHandle handle : lost) {
    calls_[handle]->cancel();
    listener_.on_run_failed(handle, status);
  }
}

void GrpcNodeLink::cancel(RunHandle handle) {
  const auto call = calls_.find(handle);
  if (call != calls_.end()) call->second->cancel();
}

void GrpcNodeLink::cancel_all() {
  is_ending_ = true;
  for (const auto& [node, ping] : pings_) ping->cancel();
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
  const auto call = calls_.find(handle);
  const auto num_calls = num_calls_.find({call->second->server, call->second->incarnation});
  if (--num_calls->second == 0) num_calls_.erase(num_calls);
  calls_.erase(call);
  listener_.on_run_failed(
      handle, status.ok() ? absl::UnavailableError("the attention node ended without an answer")
                          : from_grpc(status));
}

}  // namespace conclave
