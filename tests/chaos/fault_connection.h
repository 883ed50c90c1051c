// One TCP connection through the proxy: a socket on either side and a FaultPipe each way.
//
// The proxy's thread only.
#pragma once

#include <poll.h>

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "tests/chaos/fault_pipe.h"

namespace conclave {

class FaultConnection {
 public:
  // Takes both sockets, which do not block; the one to the server may still be connecting.
  FaultConnection(int client_fd, int server_fd, uint64_t seed);
  ~FaultConnection();  // closes both

  FaultConnection(const FaultConnection&) = delete;
  FaultConnection& operator=(const FaultConnection&) = delete;

  // Appends what to wait for: always two entries, the client's side first.
  void add_polls(const WireFault& fault, absl::Time now, std::vector<pollfd>* polls) const;

  // When to look again, if nothing happens before.
  absl::Time next_look(const WireFault& fault) const;

  // Moves what can be moved. `polls` are the two entries after poll().
  void pump(const WireFault& fault, absl::Time now, const pollfd* polls);

  // Ends both sides with a reset, as a peer does that has crashed.
  void reset();

  bool is_over() const { return is_over_; }
  bool has_lost() const { return up_.pipe.has_lost() || down_.pipe.has_lost(); }
  int64_t num_flipped() const { return up_.pipe.num_flipped() + down_.pipe.num_flipped(); }

 private:
  struct Way {
    Direction direction;
    int from;
    int to;
    FaultPipe pipe;
    bool is_input_over = false;
    bool is_output_over = false;
  };

  bool wants_input(const Way& way, const WireFault& fault) const;
  void read(Way* way, const WireFault& fault, absl::Time now);
  void write(Way* way, const WireFault& fault, absl::Time now);

  const int client_fd_;
  const int server_fd_;
  Way up_;    // to the server
  Way down_;  // to the client
  bool is_over_ = false;
};

}  // namespace conclave
