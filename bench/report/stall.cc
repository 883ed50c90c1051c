#include "bench/report/stall.h"

#include <algorithm>
#include <cmath>

#include "bench/report/report.h"
#include "common/check.h"

namespace conclave {
namespace {

constexpr size_t kLeastIds = 6;  // before the fault

}  // namespace

std::optional<double> stall_of(const std::vector<FaultTime::Point>& ids, const FaultTime& time) {
  if (ids.size() <= kLeastIds) return std::nullopt;
  if (ids[kLeastIds - 1] >= time.fault || ids.back() <= time.fault) return std::nullopt;
  std::vector<double> gaps;
  double longest = 0;
  for (size_t i = 1; i < ids.size(); ++i) {
    gaps.push_back(std::chrono::duration<double>(ids[i] - ids[i - 1]).count());
    const bool counts = ids[i] >= time.fault && ids[i - 1] < time.fault + kStallWindow &&
                        ids[i - 1] < time.next_fault;
    if (counts) longest = std::max(longest, gaps.back());
  }
  return std::max(0.0, longest - spread_of(gaps).median);
}

double percentile(std::vector<double> values, double share) {
  CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(share * static_cast<double>(values.size()));
  return values[static_cast<size_t>(std::max(rank, 1.0)) - 1];
}

}  // namespace conclave
