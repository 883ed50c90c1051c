// A process's gRPC port: its services, grpc.health.v1 and server reflection.
//
// Health (contract C6) has these names, each SERVING or NOT_SERVING from the start:
//   "" and "liveness"               the process makes progress; SERVING at the start
//   "readiness" and every service   set_ready(); NOT_SERVING at the start
//
// Messages may be as large as a leg's frame (router/wire/frame.h). The port is this process's
// alone: a second one on it is an error. Peers that vanish are noticed by pings after two minutes;
// heartbeats are what finds out sooner. What gRPC itself has to say goes to our log.
//
// Thread-safe.
#pragma once

#include <grpcpp/impl/service_type.h>
#include <grpcpp/server.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace conclave {

class GrpcDoor {
 public:
  struct Offer {
    std::string name;                  // "conclave.v1.Experts"
    grpc::Service* service = nullptr;  // outlives the door
  };
  struct Options {
    std::string listen;  // HOST:PORT; port 0: any
    std::vector<Offer> offers;

    // Of synchronous methods, which hold one for as long as they run; others take none.
    int32_t max_threads = 64;
  };

  // Starts to serve. UNAVAILABLE naming the address when it cannot be listened on.
  static absl::StatusOr<std::unique_ptr<GrpcDoor>> open(const Options& options);

  // Ends calls at once that shutdown() has not.
  ~GrpcDoor();

  GrpcDoor(const GrpcDoor&) = delete;
  GrpcDoor& operator=(const GrpcDoor&) = delete;

  // HOST:PORT as bound, the host as in Options::listen.
  const std::string& address() const { return address_; }

  void set_alive(bool alive);
  void set_ready(bool ready);

  // Takes no further calls, waits up to `grace` for those under way and cancels the rest. Blocks
  // until handlers have returned, so let go of whatever they wait for first.
  void shutdown(absl::Duration grace);

 private:
  GrpcDoor() = default;

  std::unique_ptr<grpc::Server> server_;
  std::vector<std::string> names_;
  std::string address_;
};

}  // namespace conclave
