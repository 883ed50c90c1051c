// Tells a thread that works from one that hangs (contract C6): the thread says when it has work and
// whenever it got on with it, and somebody else asks. Thread-safe; costs two atomic stores.
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"
#include "common/clock.h"

namespace conclave {

class ProgressWatch {
 public:
  // `clock` outlives this.
  explicit ProgressWatch(const Clock* clock) : clock_(clock) {}

  // The thread: it got on, and there is more to do, or there is not.
  void progress(bool has_work) {
    last_nanos_.store(absl::ToUnixNanos(clock_->now()), std::memory_order_relaxed);
    has_work_.store(has_work, std::memory_order_release);
  }

  // There is work, and nothing has happened to it for `limit`.
  bool is_stuck(absl::Duration limit) const {
    if (!has_work_.load(std::memory_order_acquire)) return false;
    const int64_t silent_nanos =
        absl::ToUnixNanos(clock_->now()) - last_nanos_.load(std::memory_order_relaxed);
    return silent_nanos > absl::ToInt64Nanoseconds(limit);
  }

 private:
  const Clock* const clock_;
  std::atomic<int64_t> last_nanos_{0};
  std::atomic<bool> has_work_{false};
};

}  // namespace conclave
