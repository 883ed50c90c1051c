// The calls of a GrpcNodeLink to attention nodes; only it uses them. The loop's thread starts and
// cancels them, gRPC's threads post what comes back.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "router/wire/grpc_handoff.h"
#include "services/gateway/grpc_node_link.h"

namespace conclave {

// Owned by the link until its OnDone() has been through the loop. The next message is read when the
// loop has taken the one before, so that a loop that is behind holds up the node and does not fill
// its own memory. A hold keeps gRPC from being done with the call meanwhile; it is let go when a
// read fails.
class GrpcNodeLink::Call final : public grpc::ClientReadReactor<v1::RunResponse> {
 public:
  Call(GrpcNodeLink* link, RunHandle handle, ServerId server, uint64_t incarnation,
       v1::RunRequest request)
      : server(server),
        incarnation(incarnation),
        link_(link),
        handle_(handle),
        request_(std::move(request)) {}

  const ServerId server;
  const uint64_t incarnation;

  void start(v1::Attention::Stub* stub, std::optional<absl::Duration> time_left) {
    if (time_left) {
      context_.set_deadline(std::chrono::system_clock::now() +
                            absl::ToChronoMicroseconds(*time_left));
    }
    stub->async()->Run(&context_, &request_, this);
    AddHold();
    hand_to_grpc(this);
    StartRead(&message_);
    StartCall();
  }

  void read_on() {
    hand_to_grpc(this);
    StartRead(&message_);
  }

  void cancel() {
    hand_to_grpc(this);
    context_.TryCancel();
  }

  void OnReadDone(bool ok) override {
    const GrpcReaction reaction(this);
    if (!ok) return RemoveHold();
    auto message = std::make_shared<v1::RunResponse>();  // std::function must be copyable
    message->Swap(&message_);
    link_->loop_->post([link = link_, handle = handle_, message] {
      link->on_message(handle, *message);
      link->calls_.at(handle)->read_on();  // there until its OnDone()
    });
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

// Owned by the link until its end has been through the loop.
class GrpcNodeLink::Ping {
 public:
  Ping(GrpcNodeLink* link, ServerId server, uint64_t incarnation)
      : started(link->clock_->now()), link_(link), server_(server), incarnation_(incarnation) {}

  const absl::Time started;

  void start(v1::Attention::Stub* stub, absl::Duration patience) {
    context_.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMicroseconds(patience));
    hand_to_grpc(this);
    stub->async()->Ping(&context_, &request_, &response_, [this](const grpc::Status& status) {
      take_from_grpc(this);
      link_->loop_->post([link = link_, server = server_, incarnation = incarnation_, status] {
        link->on_pinged(server, incarnation, status);
      });
    });
  }

  void cancel() { context_.TryCancel(); }

 private:
  GrpcNodeLink* const link_;
  const ServerId server_;
  const uint64_t incarnation_;
  grpc::ClientContext context_;
  v1::PingRequest request_;
  v1::PingResponse response_;
};

}  // namespace conclave
