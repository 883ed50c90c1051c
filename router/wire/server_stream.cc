#include "router/wire/server_stream.h"

#include <utility>

#include "common/check.h"
#include "router/wire/grpc_handoff.h"
#include "router/wire/grpc_status.h"

namespace conclave {

class ServerStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  ServerStream(ServerStreams* streams, FrameDoor* door, int32_t max_in_flight)
      : streams_(streams), door_(door), max_in_flight_(max_in_flight) {}

  void start() {
    const std::lock_guard lock(mutex_);
    go_on();
  }

  // Ends the stream with `status`, at once or when all frames are answered. The first end counts,
  // but one at once overtakes one that waits.
  void end(const absl::Status& status, bool at_once) {
    const std::lock_guard lock(mutex_);
    end_locked(status, at_once);
  }

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override {
    const GrpcReaction reaction(this);
    end(absl::CancelledError("the client has gone"), true);
  }
  void OnDone() override;

 private:
  void reply(const grpc::ByteBuffer& frame);
  void end_locked(const absl::Status& status, bool at_once);

  // Starts whatever can be started: a write, a read, the end.
  void go_on();

  bool is_over() const { return is_done_ && num_with_door_ == 0; }

  ServerStreams* const streams_;  // these two only before OnDone() returns
  FrameDoor* const door_;
  const int32_t max_in_flight_;

  std::mutex mutex_;           // of what follows
  grpc::ByteBuffer incoming_;  // gRPC's while is_reading_
  grpc::ByteBuffer outgoing_;  // gRPC's while is_writing_
  std::deque<grpc::ByteBuffer> replies_;
  int32_t num_with_door_ = 0;  // frames whose reply has not come
  bool is_reading_ = false;    // or the door has what was read
  bool is_writing_ = false;
  std::optional<absl::Status> end_;
  bool ends_at_once_ = false;
  bool is_finished_ = false;  // Finish() was called
  bool is_done_ = false;      // OnDone() was
};

void ServerStream::OnReadDone(bool ok) {
  const GrpcReaction reaction(this);
  {
    const std::lock_guard lock(mutex_);
    if (!ok) end_locked(absl::OkStatus(), /*at_once=*/false);  // the client has said all
    if (end_) {  // a frame that comes after the end was decided gets no answer but that
      is_reading_ = false;
      go_on();
      return;
    }
    ++num_with_door_;
  }
  // Without the mutex, for decoding takes time and a door may reply before it returns.
  const absl::Status status =
      door_->on_frame(incoming_, [this](const grpc::ByteBuffer& frame) { reply(frame); });
  const std::lock_guard lock(mutex_);
  is_reading_ = false;
  incoming_.Clear();
  if (!status.ok()) {
    --num_with_door_;
    end_locked(status, /*at_once=*/true);
  }
  go_on();
}

void ServerStream::OnWriteDone(bool ok) {
  const GrpcReaction reaction(this);
  const std::lock_guard lock(mutex_);
  is_writing_ = false;
  outgoing_.Clear();
  if (!ok) end_locked(absl::CancelledError("the client has gone"), /*at_once=*/true);
  go_on();
}

void ServerStream::OnDone() {
  take_from_grpc(this);
  streams_->remove(this);
  bool is_last = false;
  {
    const std::lock_guard lock(mutex_);
    is_done_ = true;
    is_last = is_over();
  }
  if (is_last) delete this;
}

void ServerStream::reply(const grpc::ByteBuffer& frame) {
  bool is_last = false;
  {
    const std::lock_guard lock(mutex_);
    --num_with_door_;
    is_last = is_over();
    if (!is_finished_) {
      replies_.push_back(frame);
      go_on();
    }
  }
  if (is_last) delete this;
}

void ServerStream::end_locked(const absl::Status& status, bool at_once) {
  if (end_ && (ends_at_once_ || !at_once)) return;
  end_ = status;
  ends_at_once_ = at_once;
  go_on();
}

void ServerStream::go_on() {
  if (is_finished_) return;
  if (end_ && ends_at_once_) replies_.clear();
  if (!is_writing_ && !replies_.empty()) {
    is_writing_ = true;
    outgoing_ = replies_.front();
    replies_.pop_front();
    hand_to_grpc(this);
    StartWrite(&outgoing_);
  }
  const int32_t num_in_flight =
      num_with_door_ + static_cast<int32_t>(replies_.size()) + (is_writing_ ? 1 : 0);
  if (!end_) {
    if (is_reading_ || num_in_flight >= max_in_flight_) return;
    is_reading_ = true;
    hand_to_grpc(this);
    StartRead(&incoming_);
    return;
  }
  if (is_writing_ || (num_in_flight > 0 && !ends_at_once_)) return;
  is_finished_ = true;
  hand_to_grpc(this);
  Finish(to_grpc(*end_));
}

ServerStreams::ServerStreams(FrameDoor* door, const Options& options)
    : door_(door), options_(options) {
  hand_to_grpc(this);  // whose threads open streams
}

ServerStreams::~ServerStreams() { CHECK(streams_.empty()); }

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ServerStreams::open() {
  take_from_grpc(this);
  auto* const stream = new ServerStream(this, door_, options_.max_in_flight);  // deletes itself
  const std::lock_guard lock(mutex_);
  streams_.insert(stream);
  if (is_stopping_) {
    stream->end(absl::UnavailableError("server is stopping"), /*at_once=*/true);
  } else {
    stream->start();
  }
  return stream;
}

void ServerStreams::shutdown(bool drain) {
  const std::lock_guard lock(mutex_);
  is_stopping_ = true;
  for (ServerStream* const stream : streams_) {
    stream->end(absl::UnavailableError("server is stopping"), /*at_once=*/!drain);
  }
}

int32_t ServerStreams::num_streams() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int32_t>(streams_.size());
}

void ServerStreams::remove(ServerStream* stream) {
  const std::lock_guard lock(mutex_);
  streams_.erase(stream);
}

}  // namespace conclave
