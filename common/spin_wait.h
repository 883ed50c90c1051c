// One place where a thread waits for another: it spins for as long as a core's sleep would cost,
// then sleeps. Whether it spins at all is learned from how the last spins went, so that a thread
// whose waits are long, or whose core others want, goes to sleep at once; now and then it tries
// again.
//
// A SpinWait belongs to the one thread that waits there. What is waited for is the caller's: an
// atomic that `ready` looks at and `sleep` blocks on.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace conclave {

#if defined(__x86_64__)
// Tells the core that this is a loop that waits.
inline void relax_core() { __builtin_ia32_pause(); }
#else
inline void relax_core() {}
#endif

class SpinWait {
 public:
  using Clock = std::chrono::steady_clock;

  // Longer waits than this are for sleeping: a sleeper is awake again after a few of them.
  static constexpr Clock::duration kLongestSpin = std::chrono::microseconds(20);

  static constexpr int32_t kMostHope = 3;  // so many spins in vain, and it sleeps at once
  static constexpr int32_t kSkipped = 32;  // so many waits, and then it tries again

  // Without `may_spin` every wait sleeps: for more threads than cores.
  explicit SpinWait(bool may_spin) : may_spin_(may_spin) {}

  // Returns when `ready` says true. `sleep` blocks until that may be so; it may return early.
  template <typename Ready, typename Sleep>
  void wait(Ready ready, Sleep sleep) {
    if (ready()) return;
    if (spins() && spin(ready)) return;
    if (hope_ == 0) num_skipped_ = std::min(num_skipped_ + 1, kSkipped);
    while (!ready()) sleep();
  }

  // Whether the next wait begins with spinning.
  bool spins() const { return may_spin_ && (hope_ > 0 || num_skipped_ == kSkipped); }

 private:
  static constexpr int32_t kLooksPerTime = 32;

  // A hole in time between two looks at the clock is somebody else's work on this core.
  static constexpr Clock::duration kHole = 5 * kLongestSpin;

  template <typename Ready>
  bool spin(Ready ready) {
    num_skipped_ = 0;
    const Clock::time_point begin = Clock::now();
    Clock::time_point last = begin;
    while (last - begin < kLongestSpin) {
      for (int32_t i = 0; i < kLooksPerTime; ++i) {
        relax_core();
        if (!ready()) continue;
        hope_ = std::min(hope_ + 1, kMostHope);
        return true;
      }
      const Clock::time_point now = Clock::now();
      if (now - last > kHole) hope_ = 1;
      last = now;
    }
    hope_ = std::max(hope_ - 1, 0);
    return false;
  }

  const bool may_spin_;
  int32_t hope_ = kMostHope;
  int32_t num_skipped_ = 0;  // waits that slept at once
};

}  // namespace conclave
