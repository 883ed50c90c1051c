#include "router/wire/reconnect_pause.h"

#include <algorithm>

namespace conclave {

absl::Duration ReconnectPause::next() {
  constexpr int32_t kMaxDoublings = 20;
  const absl::Duration grown = options_.first * (int64_t{1} << num_pauses_);
  num_pauses_ = std::min(num_pauses_ + 1, kMaxDoublings);
  return std::min(grown, options_.longest) * absl::Uniform(random_, 0.5, 1.0);
}

}  // namespace conclave
