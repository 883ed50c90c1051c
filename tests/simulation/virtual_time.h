// The simulator's clock and the queue of what is to happen.
//
// Time stands still while code runs and jumps to the next event; events of one moment happen in the
// order in which they were asked for. So a run is a function of its seed alone.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "absl/time/time.h"
#include "common/clock.h"

namespace conclave {

class VirtualTime final : public Clock {
 public:
  absl::Time now() const override { return now_; }
  absl::Duration since_start() const { return now_ - start_; }

  void at(absl::Time when, std::function<void()> event);
  void after(absl::Duration delay, std::function<void()> event) {
    at(now_ + delay, std::move(event));
  }

  // Runs the next event; false where there is none up to `until`, which it is then.
  bool run_next(absl::Time until);

  int64_t num_events() const { return num_events_; }

 private:
  using Place = std::pair<absl::Time, uint64_t>;  // and in which order it was asked for

  const absl::Time start_ = absl::UnixEpoch() + absl::Hours(1);
  absl::Time now_ = start_;
  uint64_t next_order_ = 0;
  int64_t num_events_ = 0;
  std::map<Place, std::function<void()>> events_;
};

}  // namespace conclave
