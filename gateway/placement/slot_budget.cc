#include "gateway/placement/slot_budget.h"

#include <algorithm>
#include <vector>

namespace conclave {

int64_t slot_level(std::span<const int64_t> slots, int64_t budget) {
  std::vector<int64_t> ascending(slots.begin(), slots.end());
  std::sort(ascending.begin(), ascending.end());
  int64_t left = budget;
  auto num_left = static_cast<int64_t>(ascending.size());
  for (const int64_t own : ascending) {
    const int64_t even = (left + num_left - 1) / num_left;
    if (even <= own) return std::max<int64_t>(0, even);
    left -= own;
    --num_left;
  }
  return ascending.empty() ? 0 : ascending.back();
}

}  // namespace conclave
