// A clock whose hands the test holds.
#pragma once

#include "common/clock.h"

namespace conclave {

class ManualClock final : public Clock {
 public:
  absl::Time now() const override { return now_; }
  void advance(absl::Duration duration) { now_ += duration; }
  void set(absl::Time now) { now_ = now; }

 private:
  absl::Time now_ = absl::UnixEpoch() + absl::Hours(1);
};

}  // namespace conclave
