#include "services/server/control_line.h"

#include <utility>

#include "common/check.h"

namespace conclave {

void ControlLine::start(v1::Control::Stub* stub) {
  stub->async()->Register(&context_, this);
  AddHold();
  StartRead(&arriving_);
  StartCall();
}

void ControlLine::write(v1::RegisterRequest message) {
  CHECK(can_write());
  outgoing_ = std::move(message);
  is_writing_ = true;
  StartWrite(&outgoing_);
}

void ControlLine::close() {
  CHECK(can_write());
  StartWritesDone();
}

std::optional<v1::RegisterResponse> ControlLine::take() {
  if (incoming_.empty()) return std::nullopt;
  v1::RegisterResponse first = std::move(incoming_.front());
  incoming_.pop_front();
  return first;
}

void ControlLine::OnReadDone(bool ok) {
  const std::lock_guard lock(*mutex_);
  if (ok) {
    incoming_.push_back(arriving_);
    StartRead(&arriving_);
  } else if (is_open_) {
    is_open_ = false;
    RemoveHold();
  }
  changed_->notify_all();
}

void ControlLine::OnWriteDone(bool /*ok*/) {
  const std::lock_guard lock(*mutex_);
  is_writing_ = false;
  changed_->notify_all();
}

// The client may destroy this as soon as it has the mutex.
void ControlLine::OnDone(const grpc::Status& status) {
  const std::lock_guard lock(*mutex_);
  end_ = status;
  changed_->notify_all();
}

}  // namespace conclave
