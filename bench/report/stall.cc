#include "bench/report/stall.h"

#include <algorithm>
#include <cmath>

#include "bench/report/report.h"
#include "common/check.h"

namespace conclave {
namespace {

constexpr size_t kLeastIds = 6;  // before the fault

double seconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

std::optional<double> stall_of(const std::vector<FaultTime::Point>& ids, const FaultTime& time) {
  if (ids.size() <= kLeastIds) return std::nullopt;
  if (ids[kLeastIds - 1] >= time.fault || ids.back() <= time.fault) return std::nullopt;
  std::vector<double> gaps;
  for (size_t i = 1; i < ids.size(); ++i) gaps.push_back(seconds(ids[i] - ids[i - 1]));
  const double usual = spread_of(gaps).median;
  double stall = 0;
  for (size_t i = 1; i < ids.size(); ++i) {
    const bool begins_in_time = ids[i - 1] < std::min(time.fault + kStallWindow, time.next_fault);
    if (ids[i] < time.fault || !begins_in_time) continue;
    const auto end = std::min(ids[i], time.next_fault);
    stall = std::max(stall, std::min(seconds(end - ids[i - 1]) - usual, seconds(end - time.fault)));
  }
  return stall;
}

double percentile(std::vector<double> values, double share) {
  CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(share * static_cast<double>(values.size()));
  return values[static_cast<size_t>(std::max(rank, 1.0)) - 1];
}

}  // namespace conclave
