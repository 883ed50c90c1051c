#include "common/doorbell.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>

namespace conclave {
namespace {

// Looked at again now and then; also keeps the time in the kernel's range.
constexpr absl::Duration kLongestSleep = absl::Minutes(1);
constexpr int kPausesPerLook = 16;

// std::atomic::wait() is for one process only, and without a time limit.
void sleep_while(std::atomic<uint32_t>* word, uint32_t value, absl::Duration timeout) {
  const timespec limit = absl::ToTimespec(timeout);
  syscall(SYS_futex, word, FUTEX_WAIT, value, &limit, nullptr, 0);
}

void wake(std::atomic<uint32_t>* word) {
  syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace

// The ring is counted before the sleeper is looked for, and the sleeper is marked before the count
// is looked at: one of the two sees the other.
void Doorbell::ring() {
  word_->num_rings.fetch_add(1, std::memory_order_seq_cst);
  if (word_->sleeps.load(std::memory_order_seq_cst) != 0) wake(&word_->num_rings);
}

bool Doorbell::spin_for_ring(uint32_t ticket) const {
  const auto end = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(spin_);
  do {
    for (int i = 0; i < kPausesPerLook; ++i) {
      if (has_rung(ticket)) return true;
      __builtin_ia32_pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

bool Doorbell::wait(uint32_t ticket, absl::Duration timeout) {
  if (has_rung(ticket)) return true;
  if (spin_ > absl::ZeroDuration() && spin_for_ring(ticket)) return true;
  const auto start = std::chrono::steady_clock::now();
  absl::Duration left = timeout;
  word_->sleeps.store(1, std::memory_order_seq_cst);
  while (!has_rung(ticket) && left > absl::ZeroDuration()) {
    sleep_while(&word_->num_rings, ticket, std::min(left, kLongestSleep));
    left = timeout - absl::FromChrono(std::chrono::steady_clock::now() - start);
  }
  word_->sleeps.store(0, std::memory_order_relaxed);
  return has_rung(ticket);
}

}  // namespace conclave
