// How a thread sleeps until others, of this process or another, have something for it: an event
// count on a futex.
//
//   const uint32_t ticket = bell.ticket();
//   if (!take_what_is_there()) bell.wait(ticket, timeout);
//
// Whoever has put something down rings; a ring between ticket() and wait() is not lost. Nobody
// sleeping, a ring costs an atomic addition and no system call.
//
// The word may lie in memory that processes share. It is theirs together then: one that scribbles
// on it can wake or delay the sleeper, nothing worse.
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"

namespace conclave {

struct DoorbellWord {
  std::atomic<uint32_t> num_rings{0};
  std::atomic<uint32_t> sleeps{0};  // 1 while the one who waits is asleep, or about to be
};
static_assert(std::atomic<uint32_t>::is_always_lock_free);

class Doorbell {
 public:
  // `word` outlives this. Before it sleeps, wait() looks for `spin` without giving up its core:
  // worth it only where cores are to spare.
  explicit Doorbell(DoorbellWord* word, absl::Duration spin = absl::ZeroDuration())
      : word_(word), spin_(spin) {}

  // Any thread.
  void ring();

  // One thread. wait() is false when nobody has rung since `ticket` and `timeout` is over.
  uint32_t ticket() const { return word_->num_rings.load(std::memory_order_acquire); }
  bool wait(uint32_t ticket, absl::Duration timeout);

 private:
  bool has_rung(uint32_t ticket) const { return this->ticket() != ticket; }
  bool spin_for_ring(uint32_t ticket) const;

  DoorbellWord* const word_;
  const absl::Duration spin_;
};

}  // namespace conclave
