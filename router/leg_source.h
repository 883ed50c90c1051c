// Where legs come from that the engine's own thread fetches, with nobody in between: a transport
// that is asked, instead of one that calls.
#pragma once

#include "common/doorbell.h"
#include "router/arrived_leg.h"

namespace conclave {

class LegSource {
 public:
  virtual ~LegSource() = default;

  // Gives all legs that have come to `handler` and sends answers that could not go yet. The thread
  // that answers, and no other.
  virtual void poll(LegHandler* handler) = 0;

  // Rung when there is something for poll().
  virtual Doorbell* bell() = 0;
};

}  // namespace conclave
