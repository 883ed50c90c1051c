#include "services/server/control_line.h"

#include <utility>

#include "common/check.h"
#include "router/wire/grpc_handoff.h"

namespace conclave {

void ControlLine::start(v1::Control::Stub* stub) {
  stub->async()->Register(&context_, this);
  AddHold();
  hand_to_grpc(this);
  StartRead(&arriving_);
  StartCall();
}

void ControlLine::write(v1::RegisterRequest message) {
  CHECK(can_write());
  outgoing_ = std::move(message);
  is_writing_ = true;
  hand_to_grpc(this);
  StartWrite(&outgoing_);
}

void ControlLine::close() {
  CHECK(can_write());
  hand_to_grpc(this);
  StartWritesDone();
}

std::optional<v1::RegisterResponse> ControlLine::take() {
  if (incoming_.empty()) return std::nullopt;
  v1::RegisterResponse first = std::move(incoming_.front());
  incoming_.pop_front();
  return first;
}

void ControlLine::OnReadDone(bool ok) {
  const GrpcReaction reaction(this);
  const std::lock_guard lock(*mutex_);
  if (ok) {
    incoming_.push_back(arriving_);
    hand_to_grpc(this);
    StartRead(&arriving_);
  } else if (is_open_) {
    is_open_ = false;
    hand_to_grpc(this);
    RemoveHold();
  }
  changed_->notify_all();
}

void ControlLine::OnWriteDone(bool /*ok*/) {
  const GrpcReaction reaction(this);
  const std::lock_guard lock(*mutex_);
  is_writing_ = false;
  changed_->notify_all();
}

// The client may destroy this as soon as it has the mutex.
void ControlLine::OnDone(const grpc::Status& status) {
  take_from_grpc(this);
  const std::lock_guard lock(*mutex_);
  end_ = status;
  changed_->notify_all();
}

}  // namespace conclave
