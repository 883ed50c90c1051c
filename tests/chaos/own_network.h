// A network of this process alone, where packets may be dropped without harm to others: a new
// network namespace with nothing but a loopback interface. It takes root and iptables.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

namespace conclave {

// Puts this process, and all that it starts from then on, into a network of its own. UNAVAILABLE
// with the reason where this machine does not let it. REQUIRES: no other thread runs yet
absl::Status enter_own_network();

// TCP packets that are dropped on arrival, by chance, each for itself.
struct PacketDrop {
  double share = 1;
  int32_t port = 0;  // only those to and from it; 0: all
};
absl::Status begin_dropping(const PacketDrop& drop);
absl::Status stop_dropping();  // all that was begun

}  // namespace conclave
