// How long to leave a server alone that does not answer: each time twice as long, and never all
// clients at the same moment. Not thread-safe.
#pragma once

#include <cstdint>

#include "absl/random/random.h"
#include "absl/time/time.h"

namespace conclave {

class ReconnectPause {
 public:
  struct Options {
    absl::Duration first = absl::Milliseconds(50);
    absl::Duration longest = absl::Seconds(2);
  };

  explicit ReconnectPause(const Options& options) : options_(options) {}

  // The next pause: of first * 2^n, at most `longest`, a random part from one half to all.
  absl::Duration next();

  // It answered: the next pause is the first again.
  void reset() { num_pauses_ = 0; }

 private:
  const Options options_;
  int32_t num_pauses_ = 0;
  absl::BitGen random_;  // not for results; jitter must differ from process to process
};

}  // namespace conclave
