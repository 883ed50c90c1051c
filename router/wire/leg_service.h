// Experts.Forward as an expert server offers it: frames in, legs to a handler, answers out.
//
// A leg that is wrong in itself is answered with its status; a frame that cannot be read ends its
// stream with DATA_LOSS or INVALID_ARGUMENT. Order of lives: the handler outlives the service, the
// service the grpc::Server it is registered with.
#pragma once

#include <grpcpp/impl/service_type.h>

#include <cstdint>
#include <memory>

#include "router/arrived_leg.h"

namespace conclave {

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
