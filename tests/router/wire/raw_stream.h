// Both ends of a stream of bytes, for what neither GrpcTransport nor LegService would say.
#pragma once

#include <grpcpp/create_channel.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/check.h"
#include "common/clock.h"
#include "proto/experts.grpc.pb.h"
#include "router/wire/server_stream.h"
#include "router/wire/stream_hub.h"
#include "tests/router/wire/frames.h"

namespace conclave {

// A client of Experts.Forward that sends any bytes.
class RawClient final : private StreamSink {
 public:
  explicit RawClient(const std::string& address)
      : hub_(&clock_),
        stub_(grpc::CreateChannel(address, grpc::InsecureChannelCredentials())),
        stream_(hub_.open(&stub_, "/conclave.v1.Experts/Forward", this)) {}

  void write(const std::string& frame) { hub_.write(stream_, 0, to_frame(frame)); }

  void poll() { hub_.poll(); }

  // Until as many frames have come, or the stream has ended.
  void wait_for_frames(size_t count) {
    while (frames.size() < count && !end) step();
  }
  absl::Status wait_for_end() {
    while (!end) step();
    return *end;
  }

  std::vector<std::string> frames;
  std::optional<absl::Status> end;

 private:
  void on_frame(const grpc::ByteBuffer& frame) override { frames.push_back(to_bytes(frame)); }
  void on_end(const absl::Status& status) override { end = status; }
  void step() { hub_.wait(absl::InfiniteFuture()); }

  const SystemClock clock_;
  StreamHub hub_;
  grpc::GenericStub stub_;
  ClientStream* const stream_;
};

// A server of Experts.Forward that does with a frame what the test says.
class RawService final : public v1::Experts::WithRawCallbackMethod_Forward<v1::Experts::Service>,
                         private FrameDoor {
 public:
  using Act = std::function<absl::Status(uint64_t sequence, const Reply& reply)>;

  explicit RawService(Act act) : act_(std::move(act)), streams_(this, {}) {}

  ServerStreams& streams() { return streams_; }

 private:
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Forward(
      grpc::CallbackServerContext*) override {
    return streams_.open();
  }
  absl::Status on_frame(const grpc::ByteBuffer& frame, Reply reply) override {
    const auto read = decode_leg(frame);
    CHECK(read.ok());
    return act_(read->sequence, reply);
  }

  const Act act_;
  ServerStreams streams_;
};

}  // namespace conclave
