#include "tests/simulation/virtual_time.h"

#include <algorithm>

namespace conclave {

void VirtualTime::at(absl::Time when, std::function<void()> event) {
  events_[{std::max(when, now_), next_order_++}] = std::move(event);
}

bool VirtualTime::run_next(absl::Time until) {
  const auto first = events_.begin();
  if (first == events_.end() || first->first.first > until) {
    now_ = std::max(now_, until);
    return false;
  }
  now_ = first->first.first;
  const std::function<void()> event = std::move(first->second);
  events_.erase(first);
  ++num_events_;
  event();
  return true;
}

}  // namespace conclave
