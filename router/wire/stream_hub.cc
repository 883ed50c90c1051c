#include "router/wire/stream_hub.h"

#include <grpc/support/time.h>

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "router/wire/client_stream.h"

namespace conclave {
namespace {

// gRPC rounds deadlines up to milliseconds, so that "now" would be waited for.
gpr_timespec deadline_in(absl::Duration patience) {
  if (patience <= absl::ZeroDuration()) return gpr_inf_past(GPR_CLOCK_MONOTONIC);
  if (patience == absl::InfiniteDuration()) return gpr_inf_future(GPR_CLOCK_MONOTONIC);
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_nanos(absl::ToInt64Nanoseconds(patience), GPR_TIMESPAN));
}

}  // namespace

StreamHub::StreamHub(const Clock* clock) : clock_(clock) {}

StreamHub::~StreamHub() {
  for (const std::unique_ptr<ClientStream>& stream : streams_) stream->drop();
  while (!streams_.empty()) wait(absl::InfiniteFuture());
  queue_.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
  }
}

ClientStream* StreamHub::open(grpc::GenericStub* stub, const std::string& method,
                              StreamSink* sink) {
  streams_.push_back(std::make_unique<ClientStream>(sink));
  streams_.back()->start(stub, method, &queue_);
  return streams_.back().get();
}

void StreamHub::write(ClientStream* stream, uint64_t sequence, const grpc::ByteBuffer& frame) {
  stream->write(sequence, frame);
}

void StreamHub::unwrite(ClientStream* stream, uint64_t sequence) { stream->unwrite(sequence); }

void StreamHub::drop(ClientStream* stream) { stream->drop(); }

void StreamHub::poll() {
  while (take_one(absl::ZeroDuration())) {
  }
}

bool StreamHub::wait(absl::Time until) { return take_one(until - clock_->now()); }

bool StreamHub::take_one(absl::Duration patience) {
  void* raw_tag = nullptr;
  bool ok = false;
  const auto next = queue_.AsyncNext(&raw_tag, &ok, deadline_in(patience));
  if (next != grpc::CompletionQueue::GOT_EVENT) return false;
  const auto* const tag = static_cast<const ClientStream::Tag*>(raw_tag);
  ClientStream* const stream = tag->stream;
  stream->on_done(tag->operation, ok);
  if (!stream->is_over()) return true;
  const auto found = std::find_if(streams_.begin(), streams_.end(),
                                  [&](const auto& owned) { return owned.get() == stream; });
  CHECK(found != streams_.end());
  const std::unique_ptr<ClientStream> over = std::move(*found);
  streams_.erase(found);
  over->tell_end();
  return true;
}

}  // namespace conclave
