#include "router/wire/stream_hub.h"

#include <utility>

#include "common/check.h"
#include "router/wire/client_stream.h"

namespace conclave {

StreamHub::StreamHub(const Clock* clock, Doorbell* bell)
    : clock_(clock), bell_(bell != nullptr ? bell : &own_bell_) {}

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
  while (true) {
    const uint32_t ticket = bell_->ticket();
    if (has_events()) return true;
    const absl::Duration left = until - clock_->now();
    if (left <= absl::ZeroDuration()) return false;
    bell_->wait(ticket, left);
  }
}

bool StreamHub::has_events() {
  const std::lock_guard lock(mutex_);
  return !events_.empty();
}

std::optional<StreamHub::Event> StreamHub::next_event() {
  const std::lock_guard lock(mutex_);
  if (events_.empty()) return std::nullopt;
  Event event = std::move(events_.front());
  events_.pop_front();
  if (event.frame) event.stream->on_taken();
  return event;
}

}  // namespace conclave
