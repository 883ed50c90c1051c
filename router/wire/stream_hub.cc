#include "router/wire/stream_hub.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "router/wire/client_stream.h"

namespace conclave {

StreamHub::StreamHub(const Clock* clock) : clock_(clock) {}

StreamHub::~StreamHub() {
  for (const std::unique_ptr<ClientStream>& stream : streams_) {
    stream->drop_sink();
    stream->cancel();
  }
  while (!streams_.empty()) {
    wait(absl::InfiniteFuture());
    poll();
  }
}

ClientStream* StreamHub::open(grpc::GenericStub* stub, const std::string& method,
                              int32_t max_unread, StreamSink* sink) {
  CHECK(max_unread > 0);
  streams_.push_back(std::make_unique<ClientStream>(this, max_unread, sink));
  streams_.back()->start(stub, method);
  return streams_.back().get();
}

void StreamHub::write(ClientStream* stream, uint64_t sequence, const grpc::ByteBuffer& frame) {
  stream->write(sequence, frame);
}

void StreamHub::unwrite(ClientStream* stream, uint64_t sequence) { stream->unwrite(sequence); }

void StreamHub::drop(ClientStream* stream) {
  stream->drop_sink();
  stream->cancel();
}

void StreamHub::poll() {
  // One at a time: a sink may drop streams, also its own.
  while (std::optional<Event> event = next_event()) {
    ClientStream* const stream = event->stream;
    StreamSink* const sink = stream->sink();
    if (event->frame) {
      if (sink != nullptr) sink->on_frame(*event->frame);
      continue;
    }
    std::erase_if(streams_, [&](const auto& owned) { return owned.get() == stream; });
    if (sink != nullptr) sink->on_end(event->end);
  }
}

bool StreamHub::wait(absl::Time until) {
  // Looked at again now and then, for a clock may go otherwise than the machine's.
  constexpr absl::Duration kLongest = absl::Minutes(1);
  std::unique_lock lock(mutex_);
  while (events_.empty()) {
    const absl::Duration left = until - clock_->now();
    if (left <= absl::ZeroDuration()) return false;
    arrived_.wait_for(lock, absl::ToChronoNanoseconds(std::min(left, kLongest)));
  }
  return true;
}

std::optional<StreamHub::Event> StreamHub::next_event() {
  const std::lock_guard lock(mutex_);
  if (events_.empty()) return std::nullopt;
  Event event = std::move(events_.front());
  events_.pop_front();
  if (event.frame) event.stream->on_taken();
  return event;
}

void StreamHub::push(Event event) {
  events_.push_back(std::move(event));
  arrived_.notify_one();
}

}  // namespace conclave
