#include "router/wire/connection.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/check.h"
#include "router/wire/frame.h"

namespace conclave {
namespace {

constexpr int kLookaheadBytes = 8 << 20;

std::shared_ptr<grpc::Channel> make_channel(const Connection::Options& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxSendMessageSize(kMaxFrameBytes);
  arguments.SetMaxReceiveMessageSize(kMaxFrameBytes);
  // Answers may come while nobody looks at the sockets (stream_hub.h).
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kLookaheadBytes);
  // Channels with the same address and arguments would share one connection, and with it the lanes
  // one queue.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  // A proxy for the web has no part in a cluster.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(
      options.address,
      options.credentials != nullptr ? options.credentials : grpc::InsecureChannelCredentials(),
      arguments);
}

// What a broken stream means to those who waited for an answer. Anything but a damaged frame or a
// full server is a lost server to them: one caller's bad frame is not another's fault.
absl::StatusCode code_of_loss(absl::StatusCode code) {
  if (code == absl::StatusCode::kDataLoss) return code;
  if (code == absl::StatusCode::kResourceExhausted) return code;
  return absl::StatusCode::kUnavailable;
}

}  // namespace

Connection::Connection(const Options& options, const Parts& parts)
    : options_(options),
      hub_(parts.hub),
      clock_(parts.clock),
      sink_(parts.sink),
      pause_(options.reconnect),
      stub_(make_channel(options)) {
  CHECK(start().ok());
}

Connection::~Connection() {
  if (stream_ != nullptr) hub_->drop(stream_);
}

absl::Status Connection::start() {
  if (stream_ != nullptr) return absl::OkStatus();
  const absl::Time now = clock_->now();
  if (now < next_start_) {
    const absl::Duration down = absl::Trunc(now - down_since_, absl::Milliseconds(1));
    return absl::UnavailableError(
        absl::StrFormat("down for %s: %s", absl::FormatDuration(down), lost_with_.message()));
  }
  stream_ = hub_->open(&stub_, options_.method, this);
  return absl::OkStatus();
}

void Connection::write(uint64_t sequence, const grpc::ByteBuffer& frame) {
  CHECK(stream_ != nullptr);
  hub_->write(stream_, sequence, frame);
}

void Connection::unwrite(uint64_t sequence) {
  if (stream_ != nullptr) hub_->unwrite(stream_, sequence);
}

void Connection::on_frame(const grpc::ByteBuffer& frame) {
  const absl::Status status = sink_->on_frame(frame);
  if (!status.ok()) {
    hub_->drop(stream_);
    lose(status);
    return;
  }
  pause_.reset();
  down_since_ = absl::InfiniteFuture();
}

void Connection::on_end(const absl::Status& status) {
  lose(status.ok() ? absl::UnavailableError("the server ended the stream") : status);
}

void Connection::lose(const absl::Status& status) {
  stream_ = nullptr;
  const absl::Time now = clock_->now();
  down_since_ = std::min(down_since_, now);
  next_start_ = now + pause_.next();
  const absl::StatusCode code = code_of_loss(status.code());
  // A code that was replaced is worth reading.
  lost_with_ = absl::Status(
      code, code == status.code() ? absl::StrFormat("%s: %s", options_.address, status.message())
                                  : absl::StrFormat("%s: %s", options_.address, status.ToString()));
  sink_->on_lost(lost_with_);
}

}  // namespace conclave
