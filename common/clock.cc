#include "common/clock.h"

#include <chrono>

namespace conclave {

absl::Time SystemClock::now() const {
  const auto since_start = std::chrono::steady_clock::now().time_since_epoch();
  return absl::UnixEpoch() + absl::FromChrono(since_start);
}

}  // namespace conclave
