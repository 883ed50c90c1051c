// A TCP proxy in this process, through which the parties of a cluster reach each other while a
// script breaks their lines. Seeded: the same bytes through the same connections are damaged in the
// same places.
//
// It works on streams, not on packets. What it swallows its own kernel has acknowledged, so that
// the sender never notices by itself; a connection that has lost bytes is reset once its fault is
// over, where a network would have sent them again.
//
// One thread of its own does the work. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/chaos/fault_connection.h"
#include "tests/chaos/fault_pipe.h"

namespace conclave {

class FaultProxy {
 public:
  struct Counts {
    int64_t num_connections = 0;  // so far
    int64_t num_open = 0;
    int64_t num_flipped = 0;  // bits
    int64_t num_reset = 0;    // connections, by us
  };

  explicit FaultProxy(uint64_t seed);
  ~FaultProxy();

  FaultProxy(const FaultProxy&) = delete;
  FaultProxy& operator=(const FaultProxy&) = delete;

  // A port of the loopback interface that leads to `target`, a port of it too: HOST:PORT. The
  // target need not be there yet. REQUIRES: no other link has this name
  absl::StatusOr<std::string> add_link(const std::string& name, int32_t target_port);

  // In force when this returns, for what moves from then on. The default fault is none.
  void set_fault(const std::string& name, const WireFault& fault);

  // Resets every connection of the link once.
  void reset(const std::string& name);

  Counts counts(const std::string& name);

 private:
  struct Link {
    int listen_fd = -1;
    int32_t target_port = 0;
    WireFault fault;
    std::vector<std::unique_ptr<FaultConnection>> connections;
    Counts counts;
  };

  void run();
  std::vector<pollfd> polls(absl::Time* next_look) const;
  void handle(const std::vector<pollfd>& polls);
  void accept_all(Link* link);
  static void reset_if(Link* link, bool only_holed);
  static void bury(Link* link);
  void wake() const;

  const int wake_fd_;
  std::mutex mutex_;
  uint64_t next_seed_;
  bool is_over_ = false;
  std::map<std::string, Link> links_;  // never shrinks
  std::thread thread_;
};

}  // namespace conclave
