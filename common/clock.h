// Time as our logic sees it. Everything that measures or waits takes a Clock, so that tests and the
// simulator can hold the hands. Thread-safe.
#pragma once

#include "absl/time/time.h"

namespace conclave {

class Clock {
 public:
  virtual ~Clock() = default;

  // Never goes backwards; its zero means nothing. Compare and subtract only.
  virtual absl::Time now() const = 0;
};

// The machine's monotonic clock.
class SystemClock final : public Clock {
 public:
  absl::Time now() const override;
};

}  // namespace conclave
