// A client of a stream of frames that sends any bytes, with a limit to its patience.
#pragma once

#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "common/clock.h"
#include "router/wire/stream_hub.h"
#include "tests/router/wire/frames.h"

namespace conclave {

class FrameClient final : private StreamSink {
 public:
  FrameClient(const std::string& address, const std::string& method)
      : hub_(&clock_),
        stub_(grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), limits())),
        stream_(hub_.open(&stub_, method, this)) {}

  void write(const std::string& frame) { hub_.write(stream_, 0, to_frame(frame)); }

  // The next frame, or nothing when the stream ends (end() says how) or says nothing for long.
  std::optional<std::string> read() {
    while (frames_.empty() && !end_ && step()) {
    }
    if (frames_.empty()) return std::nullopt;
    std::string frame = std::move(frames_.front());
    frames_.erase(frames_.begin());
    return frame;
  }

  // How the stream ended; DEADLINE_EXCEEDED while it goes on.
  absl::Status wait_for_end() {
    while (!end_ && step()) {
    }
    return end_.value_or(absl::DeadlineExceededError("the stream goes on"));
  }

 private:
  static grpc::ChannelArguments limits() {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    arguments.SetMaxSendMessageSize(-1);
    return arguments;
  }

  void on_frame(const grpc::ByteBuffer& frame) override { frames_.push_back(to_bytes(frame)); }
  void on_end(const absl::Status& status) override { end_ = status; }
  bool step() {
    const bool has_news = hub_.wait(clock_.now() + absl::Seconds(60));
    EXPECT_TRUE(has_news) << "nothing came within a minute";
    return has_news;
  }

  const SystemClock clock_;
  StreamHub hub_;
  grpc::GenericStub stub_;
  ClientStream* const stream_;
  std::vector<std::string> frames_;
  std::optional<absl::Status> end_;
};

}  // namespace conclave
