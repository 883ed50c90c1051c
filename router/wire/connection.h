// A warm stream to one address, on a connection of its own, started again when it has broken.
//
// There is no timer. A broken stream stays down for a pause that grows with every failure, and the
// first write after it starts the stream again; writes before fail at once and say for how long it
// has been down. The pause is short again after a frame has come back.
//
// The step thread only.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "router/wire/reconnect_pause.h"
#include "router/wire/stream_hub.h"

namespace conclave {

// Whom a connection's frames are for. Called by the hub's poll().
class FrameSink {
 public:
  virtual ~FrameSink() = default;

  // A status that is not OK says that the stream cannot go on: on_lost() is called with it.
  virtual absl::Status on_frame(const grpc::ByteBuffer& frame) = 0;

  // The stream broke: what was written and not answered will not be. DATA_LOSS, RESOURCE_EXHAUSTED
  // or UNAVAILABLE; the message begins with the address.
  virtual void on_lost(const absl::Status& status) = 0;
};

class Connection final : private StreamSink {
 public:
  struct Options {
    std::string address;  // HOST:PORT
    std::string method;   // "/package.Service/Method"
    ReconnectPause::Options reconnect;
    // gRPC counts references to credentials; null: none, plain text.
    std::shared_ptr<grpc::ChannelCredentials> credentials;
  };
  // All outlive the connection.
  struct Parts {
    StreamHub* hub = nullptr;
    const Clock* clock = nullptr;
    FrameSink* sink = nullptr;
  };

  // Starts to connect.
  Connection(const Options& options, const Parts& parts);
  ~Connection() override;

  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Starts the stream where there is none and the pause is over. UNAVAILABLE while it is down.
  absl::Status start();

  // REQUIRES: start() said OK, with no poll() since
  void write(uint64_t sequence, const grpc::ByteBuffer& frame);

  // Takes a frame back that is still here. No effect on others.
  void unwrite(uint64_t sequence);

  const std::string& address() const { return options_.address; }

 private:
  void on_frame(const grpc::ByteBuffer& frame) override;
  void on_end(const absl::Status& status) override;
  void lose(const absl::Status& status);

  const Options options_;
  StreamHub* const hub_;
  const Clock* const clock_;
  FrameSink* const sink_;
  ReconnectPause pause_;
  grpc::GenericStub stub_;  // keeps the channel
  ClientStream* stream_ = nullptr;
  absl::Status lost_with_;
  absl::Time down_since_ = absl::InfiniteFuture();  // until a frame has come back
  absl::Time next_start_ = absl::InfinitePast();
};

}  // namespace conclave
