// What every part of a simulated world is given.
#pragma once

#include <cstdint>

#include "tests/simulation/sim_counts.h"
#include "tests/simulation/sim_log.h"
#include "tests/simulation/sim_network.h"
#include "tests/simulation/virtual_time.h"

namespace conclave {

// What a world does wrong on purpose, once, so that a test can see that it is noticed.
enum class Sabotage : uint8_t {
  kNone,
  kWrongRow,      // an expert server answers with one number changed
  kUnheldExpert,  // one runs experts that it does not hold
  kLostId,        // an id is lost between node and gateway
  kDoubledId,     // one comes twice
  kLostRequest,   // a node forgets a run
  kLeakedPage,    // a node's cache lends a page that never comes back
};

// All outlive the parts.
struct SimWorldParts {
  VirtualTime* time = nullptr;
  SimNetwork* network = nullptr;
  SimLog* log = nullptr;
  SimCounts* counts = nullptr;
  uint64_t seed = 0;
  Sabotage sabotage = Sabotage::kNone;
};

}  // namespace conclave
