// Experts.Forward as an expert server offers it: frames in, legs to a handler, answers out.
//
// A leg that is wrong in itself is answered with its status; a frame that cannot be read ends its
// stream with DATA_LOSS or INVALID_ARGUMENT. Order of lives: the handler outlives the service, the
// service the grpc::Server it is registered with.
#pragma once

#include <grpcpp/impl/service_type.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "router/wire/leg_frame.h"

namespace conclave {

class LegHandler {
 public:
  // One row per pick, packed [N, D] of the leg's reply_type; or what was wrong.
  using Done = std::function<void(absl::StatusOr<std::vector<std::byte>>)>;

  virtual ~LegHandler() = default;

  // On gRPC's threads, several at a time; must not block. `done` is called once, from any thread,
  // also when the stream or the server is gone: then nobody hears the answer.
  virtual void submit(LegFrame leg, Done done) = 0;
};

// Thread-safe.
class LegService {
 public:
  struct Options {
    int32_t max_legs_in_flight = 64;  // per stream; a further one waits at the client
  };

  LegService(LegHandler* handler, const Options& options);
  ~LegService();

  // For grpc::ServerBuilder::RegisterService(). The builder also needs apply_wire_limits().
  grpc::Service* service();

  // Ends all streams, and every later one, with UNAVAILABLE; with `drain` only when the legs that
  // have arrived are answered. Returns at once.
  void shutdown(bool drain);
  int32_t num_streams() const;

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace conclave
