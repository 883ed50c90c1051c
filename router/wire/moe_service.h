// MoeLayer.Forward as the gateway offers it: frames in, rows to a handler, sums out. Rules and
// order of lives as in leg_service.h.
#pragma once

#include <grpcpp/impl/service_type.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "router/wire/moe_frame.h"

namespace conclave {

class MoeHandler {
 public:
  using Done = std::function<void(absl::StatusOr<MoeAnswer>)>;

  virtual ~MoeHandler() = default;

  // On gRPC's threads, several at a time; must not block. Whether there is such a layer and the
  // columns are the model's is for the handler to check. `done` is called once, from any thread,
  // also when the stream or the server is gone: then nobody hears the answer.
  virtual void submit(MoeFrame frame, Done done) = 0;
};

// Thread-safe.
class MoeService {
 public:
  struct Options {
    int32_t max_frames_in_flight = 16;  // per stream; a further one waits at the client
  };

  MoeService(MoeHandler* handler, const Options& options);
  ~MoeService();

  // For grpc::ServerBuilder::RegisterService(). The builder also needs apply_wire_limits().
  grpc::Service* service();

  // Ends all streams, and every later one, with UNAVAILABLE; with `drain` only when the frames that
  // have arrived are answered. Returns at once.
  void shutdown(bool drain);
  int32_t num_streams() const;

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace conclave
