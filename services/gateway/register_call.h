// A server's line as ControlService has it; only it uses this.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "router/wire/grpc_handoff.h"
#include "router/wire/grpc_status.h"
#include "services/gateway/control_service.h"
#include "services/server/call_queue.h"

namespace conclave {

// How control turns away.
inline absl::Status too_many(const char* what, size_t limit) {
  return absl::ResourceExhaustedError(
      absl::StrFormat("control has %d %s, the most it takes", limit, what));
}

inline absl::Status stopping() { return absl::UnavailableError("the control role is stopping"); }

// One server's line. Reactions only post; the loop reads on when it has dealt with a message, so a
// server that talks too much waits. OnDone() posts the end of the object, behind everything that
// was posted about it.
class ControlService::RegisterCall final
    : public grpc::ServerBidiReactor<v1::RegisterRequest, v1::RegisterResponse> {
 public:
  explicit RegisterCall(ControlService* service) : service_(service) {
    service->loop_->post([this] { begin(); });
  }

  // The loop's thread.
  void say(v1::RegisterResponse response) { act(queue_.push(std::move(response))); }
  void end(const absl::Status& status) {
    ended_ = true;
    act(queue_.end(status));
  }

  std::optional<ServerId> member;  // while it is one
  std::string id;
  bool said_goodbye = false;
  absl::Time opened;

  bool is_nobody() const { return !member && !ended_; }

  // gRPC's threads.
  void OnReadDone(bool ok) override {
    const GrpcReaction reaction(this);
    service_->loop_->post([this, ok] { on_message(ok); });
  }
  void OnWriteDone(bool ok) override {
    const GrpcReaction reaction(this);
    act(queue_.written(ok));
  }
  void OnDone() override {
    take_from_grpc(this);
    service_->loop_->post([this] {
      service_->gone(this);
      delete this;
    });
  }

 private:
  void begin() {
    opened = service_->state_->now();
    service_->calls_.insert(this);
    if (service_->stopping_) return end(stopping());
    const size_t max_lines = service_->options_.max_lines;
    if (service_->calls_.size() > max_lines) return end(too_many("lines of servers", max_lines));
    hand_to_grpc(this);
    StartRead(&message_);
  }

  void on_message(bool ok) {
    if (!ok || ended_) {  // what was on its way when we ended it is not heard any more
      service_->gone(this);
      return end(absl::OkStatus());
    }
    if (message_.has_hello()) {
      service_->join(this, message_.hello());
    } else if (message_.has_heartbeat()) {
      service_->beat(this, message_.heartbeat());
    } else {
      end(absl::InvalidArgumentError("a message that is neither hello nor heartbeat"));
    }
    // After Finish() gRPC may be done with the call at any moment, and a read would be of nothing.
    if (ended_) return;
    hand_to_grpc(this);
    StartRead(&message_);
  }

  void act(const CallQueue<v1::RegisterResponse>::Action& action) {
    hand_to_grpc(this);
    if (action.write != nullptr) return StartWrite(action.write);
    if (action.finish) Finish(to_grpc(*action.finish));
  }

  ControlService* const service_;
  v1::RegisterRequest message_;
  CallQueue<v1::RegisterResponse> queue_;
  bool ended_ = false;  // the loop's
};

}  // namespace conclave
