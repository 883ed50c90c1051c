// How long to wait before another try.
#pragma once

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"

namespace conclave {

struct Backoff {
  absl::Duration first = absl::Milliseconds(50);
  absl::Duration most = absl::Seconds(2);

  // After the n-th failure in a row, n >= 1: doubles from `first` up to `most`.
  absl::Duration after(int32_t num_failures) const {
    return std::min(most, first * (int64_t{1} << std::min(num_failures - 1, 20)));
  }
};

}  // namespace conclave
