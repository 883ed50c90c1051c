// A clock that moves when the test says so.
#pragma once

#include "absl/time/time.h"
#include "common/clock.h"

namespace conclave {

class HandClock final : public Clock {
 public:
  absl::Time now() const override { return now_; }
  void advance(absl::Duration time) { now_ += time; }

 private:
  absl::Time now_ = absl::UnixEpoch();
};

}  // namespace conclave
