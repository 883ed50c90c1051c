#include "services/gateway/control_service.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "router/wire/grpc_handoff.h"
#include "router/wire/grpc_status.h"
#include "services/gateway/control_status.h"
#include "services/gateway/register_call.h"
#include "services/server/control_codec.h"
#include "services/server/log.h"

namespace conclave {
namespace {

// An attention node that leaves routing to a gateway that does not route would wait for ever. One
// that routes by itself says in what types.
absl::Status check_routing(const ServerFacts& facts, const std::string& routing) {
  if (facts.role != ServerRole::kAttentionNode || !facts.profile.wire_out.empty() ||
      routing == "gateway") {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      "this attention node was started with --routing gateway, and the gateway was not");
}

}  // namespace

ControlService::ControlService(EventLoop* loop, ClusterState* state, const ModelConfig* config,
                               const Options& options)
    : loop_(loop), state_(state), config_(config), options_(options) {
  loop_->run([this] {
    state_->on_placement = [this] { push_placement(); };
    state_->on_nodes = [this] { push_nodes(); };
    state_->on_expired = [this](ServerId server) { let_go(server); };
    state_->on_order = [this](const PlacementControl::Order& order) { give_order(order); };
    state_->on_look = [this] { end_lines_without_hello(); };
  });
}

ControlService::~ControlService() {
  loop_->run([this] {
    CHECK(calls_.empty());
    state_->on_placement = state_->on_nodes = state_->on_look = [] {};
    state_->on_expired = [](ServerId) {};
    state_->on_order = [](const PlacementControl::Order&) {};
  });
}

void ControlService::shutdown() {
  loop_->post([this] {
    stopping_ = true;
    for (RegisterCall* const call : calls_) call->end(stopping());
    for (auto* const call : placement_watchers_) call->end(stopping());
    for (auto* const call : node_watchers_) call->end(stopping());
  });
}

grpc::ServerBidiReactor<v1::RegisterRequest, v1::RegisterResponse>* ControlService::Register(
    grpc::CallbackServerContext*) {
  return new RegisterCall(this);
}

grpc::ServerWriteReactor<v1::PlacementUpdate>* ControlService::WatchPlacement(
    grpc::CallbackServerContext*, const v1::WatchPlacementRequest*) {
  return new WatchCall<v1::PlacementUpdate>(loop_, &placement_watchers_, [this](auto* call) {
    if (stopping_) return call->end(stopping());
    if (placement_watchers_.size() > options_.max_watchers) {
      return call->end(too_many("watchers of placements", options_.max_watchers));
    }
    if (!state_->publishes_placement()) return;  // it comes when it is settled
    v1::PlacementUpdate update;
    to_proto(state_->membership()->placement(), &update);
    call->push(std::move(update));
  });
}

grpc::ServerWriteReactor<v1::NodesUpdate>* ControlService::WatchNodes(
    grpc::CallbackServerContext*, const v1::WatchNodesRequest*) {
  return new WatchCall<v1::NodesUpdate>(loop_, &node_watchers_, [this](auto* call) {
    if (stopping_) return call->end(stopping());
    if (node_watchers_.size() > options_.max_watchers) {
      return call->end(too_many("watchers of nodes", options_.max_watchers));
    }
    if (state_->publishes_nodes()) call->push(nodes_update(*state_));
  });
}

grpc::ServerUnaryReactor* ControlService::GetStatus(grpc::CallbackServerContext* context,
                                                    const v1::GetStatusRequest*,
                                                    v1::GetStatusResponse* response) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  loop_->post([this, reactor, response] {
    response->set_model(options_.model);
    response->set_routing(options_.routing);
    fill_status(state_, response);
    reactor->Finish(grpc::Status::OK);
  });
  return reactor;
}

void ControlService::join(RegisterCall* call, const v1::Hello& hello) {
  if (call->member) return call->end(absl::InvalidArgumentError("a second hello on one line"));
  const absl::Status same_model =
      state_->membership()->check_weights(hello.server_id(), hello.profile().weights());
  if (!same_model.ok()) return call->end(same_model);
  absl::StatusOr<ServerFacts> facts = from_proto(hello, *config_);
  if (!facts.ok()) return call->end(facts.status());
  call->id = facts->id;
  const std::string address = facts->address;
  const absl::Status routing = check_routing(*facts, options_.routing);
  const absl::StatusOr<ServerId> server =
      routing.ok() ? state_->membership()->join(*facts) : routing;
  if (!server.ok()) {
    log_warn("refused a server",
             {{"server", call->id}, {"address", address}, {"status", server.status()}});
    return call->end(server.status());
  }
  call->member = *server;
  members_[*server] = call;
  state_->placement()->joined(*server, *facts);
  log_info(
      "a server joined",
      {{"server", call->id}, {"server_no", static_cast<int32_t>(*server)}, {"address", address}});
  v1::RegisterResponse response;
  response.mutable_welcome()->set_server_no(static_cast<int32_t>(*server));
  response.mutable_welcome()->set_heartbeat_ms(
      static_cast<int32_t>(absl::ToInt64Milliseconds(options_.heartbeat)));
  call->say(std::move(response));
  state_->members_changed();
}

void ControlService::beat(RegisterCall* call, const v1::Heartbeat& heartbeat) {
  if (!call->member) {
    return call->end(absl::InvalidArgumentError("a heartbeat before the line's hello"));
  }
  const absl::StatusOr<Heartbeat> beat = from_proto(heartbeat, *config_);
  const absl::Status status =
      beat.ok() ? state_->membership()->heartbeat(*call->member, *beat) : beat.status();
  if (!status.ok()) {
    gone(call);
    return call->end(status);
  }
  state_->placement()->heard(*call->member, *beat);
  state_->members_changed();
  // Not only the one who speaks may go now: it may be what another was waiting for.
  for (const auto& [server, member] : members_) {
    if (member->said_goodbye || !state_->membership()->may_leave(server)) continue;
    member->said_goodbye = true;
    v1::RegisterResponse response;
    response.mutable_goodbye();
    member->say(std::move(response));
  }
}

// The line is over, or as good as.
void ControlService::gone(RegisterCall* call) {
  calls_.erase(call);
  if (!call->member) return;
  log_info("a server left",
           {{"server", call->id}, {"server_no", static_cast<int32_t>(*call->member)}});
  members_.erase(*call->member);
  state_->membership()->leave(*call->member);
  state_->placement()->left(*call->member);
  call->member.reset();
  state_->members_changed();
}

void ControlService::push_placement() {
  v1::PlacementUpdate update;
  to_proto(state_->membership()->placement(), &update);
  for (auto* const watcher : placement_watchers_) watcher->push(update);
}

void ControlService::push_nodes() {
  if (node_watchers_.empty()) return;
  const v1::NodesUpdate update = nodes_update(*state_);
  for (auto* const watcher : node_watchers_) watcher->push(update);
}

// The membership has taken it out for its silence.
void ControlService::let_go(ServerId server) {
  const auto found = members_.find(server);
  if (found == members_.end()) return;
  RegisterCall* const call = found->second;
  log_warn("a server is silent",
           {{"server", call->id}, {"server_no", static_cast<int32_t>(server)}});
  members_.erase(found);
  state_->placement()->left(server);
  call->member.reset();
  call->end(absl::UnavailableError("no heartbeat came for six intervals"));
}

void ControlService::end_lines_without_hello() {
  const absl::Time oldest = state_->now() - options_.hello_timeout;
  for (RegisterCall* const call : calls_) {
    if (!call->is_nobody() || call->opened > oldest) continue;
    call->end(absl::DeadlineExceededError(
        absl::StrCat("no hello came within ", absl::FormatDuration(options_.hello_timeout))));
  }
}

void ControlService::give_order(const PlacementControl::Order& order) {
  const auto found = members_.find(order.server);
  if (found == members_.end()) return;
  log_info("ordered experts", {{"server", found->second->id},
                               {"order", order.order.order},
                               {"num_experts", order.order.hold.size()}});
  v1::RegisterResponse response;
  to_proto(order.order, response.mutable_order());
  found->second->say(std::move(response));
}

}  // namespace conclave
