#include "router/wire/client_stream.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "router/wire/grpc_handoff.h"
#include "router/wire/grpc_status.h"

namespace conclave {

void ClientStream::start(grpc::GenericStub* stub, const std::string& method) {
  stub->PrepareBidiStreamingCall(&context_, method, {}, this);
  {
    const std::lock_guard lock(hub_->mutex_);
    is_held_ = true;
    AddHold();
    read_next();
  }
  hand_to_grpc(this);
  StartCall();
}

void ClientStream::write(uint64_t sequence, const grpc::ByteBuffer& frame) {
  const std::lock_guard lock(hub_->mutex_);
  if (!is_held_) return;  // it has ended: the end is in the queue, behind answers that came in time
  queue_.push_back({sequence, frame});
  write_next();
}

void ClientStream::unwrite(uint64_t sequence) {
  const std::lock_guard lock(hub_->mutex_);
  std::erase_if(queue_, [&](const Outgoing& waiting) { return waiting.sequence == sequence; });
}

void ClientStream::cancel() {
  hand_to_grpc(this);
  context_.TryCancel();
  const std::lock_guard lock(hub_->mutex_);
  is_cancelled_ = true;
  queue_.clear();
  if (!is_reading_) let_go();
}

void ClientStream::on_taken() {
  --num_unread_;
  if (is_held_ && !is_reading_) read_next();
}

void ClientStream::OnReadDone(bool ok) {
  const GrpcReaction reaction(this);
  {
    const std::lock_guard lock(hub_->mutex_);
    is_reading_ = false;
    if (!ok || is_cancelled_) {
      let_go();
      return;
    }
    ++num_unread_;
    hub_->events_.push_back({.stream = this, .frame = std::exchange(incoming_, {})});
  }
  // Rung before the next read is asked for, which takes gRPC longer; the hub is there as long as
  // this reaction goes on.
  hub_->bell()->ring();
  const std::lock_guard lock(hub_->mutex_);
  if (is_held_ && !is_reading_ && num_unread_ < max_unread_) read_next();
}

void ClientStream::OnWriteDone(bool ok) {
  const GrpcReaction reaction(this);
  const std::lock_guard lock(hub_->mutex_);
  is_writing_ = false;
  outgoing_.Clear();
  if (!ok) queue_.clear();  // the stream is broken, and the read that is under way will say how
  if (is_held_) write_next();
}

void ClientStream::OnDone(const grpc::Status& status) {
  take_from_grpc(this);
  // Nothing of this stream is touched after the push: the step thread may delete it as soon as it
  // has the mutex, whose owner is the hub.
  const std::lock_guard lock(hub_->mutex_);
  hub_->events_.push_back({.stream = this, .end = from_grpc(status)});
  hub_->bell()->ring();
}

void ClientStream::read_next() {
  is_reading_ = true;
  hand_to_grpc(this);
  StartRead(&incoming_);
}

void ClientStream::write_next() {
  if (is_writing_ || queue_.empty()) return;
  is_writing_ = true;
  outgoing_ = queue_.front().frame;
  queue_.pop_front();
  hand_to_grpc(this);
  StartWrite(&outgoing_);
}

void ClientStream::let_go() {
  if (!is_held_) return;
  is_held_ = false;
  queue_.clear();
  hand_to_grpc(this);
  RemoveHold();
}

}  // namespace conclave
