// How long a client saw nothing because of a fault, and what is said of many such times.
#pragma once

#include <chrono>
#include <optional>
#include <vector>

namespace conclave {

inline constexpr auto kStallWindow = std::chrono::seconds(5);

struct FaultTime {
  using Point = std::chrono::steady_clock::time_point;
  Point fault;
  Point next_fault = Point::max();  // what a gap is longer than until then is that one's
};

// The stall of a stream whose ids came at `ids`: the largest gap between two of them that ends
// after the fault and begins no later than kStallWindow after it, less the stream's median gap, in
// seconds; of a gap that was long already when the fault came, what is after it. Nothing where the
// stream had said fewer than six ids, or all, when the fault came.
std::optional<double> stall_of(const std::vector<FaultTime::Point>& ids, const FaultTime& time);

// The least value that at least `share` of all are not above. REQUIRES: at least one value
double percentile(std::vector<double> values, double share);

}  // namespace conclave
