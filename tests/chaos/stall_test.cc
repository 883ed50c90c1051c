// What counts as the stall of a fault:
//   - the largest gap that overlaps the five seconds after it, less the stream's median gap;
//   - also one that ends later, so that the worst is not left out;
//   - of a gap in which the next fault falls, only what was before;
//   - of a gap that was long before the fault, only what comes after;
//   - nothing of streams that had hardly begun or were over.

#include "bench/report/stall.h"

#include <gtest/gtest.h>

namespace conclave {
namespace {

using Point = FaultTime::Point;

Point at(double seconds) {
  return Point() +
         std::chrono::duration_cast<Point::duration>(std::chrono::duration<double>(seconds));
}

// An id every 10 ms for a second, with a hole of `gap` seconds after the first half of it.
std::vector<Point> stream_with(double gap) {
  std::vector<Point> ids;
  for (int i = 0; i < 100; ++i) ids.push_back(at(0.01 * i + (i < 50 ? 0 : gap)));
  return ids;
}

TEST(StallTest, IsTheLargestGapLessTheMedian) {
  EXPECT_NEAR(*stall_of(stream_with(0.3), {.fault = at(0.495)}), 0.3, 1e-6);
  EXPECT_NEAR(*stall_of(stream_with(0), {.fault = at(0.495)}), 0, 1e-6);
}

TEST(StallTest, CountsAGapThatOutlivesTheWindow) {
  EXPECT_NEAR(*stall_of(stream_with(20), {.fault = at(0.495)}), 20, 1e-6);
}

TEST(StallTest, LeavesGapsOfBeforeAndMuchLaterAside) {
  EXPECT_NEAR(*stall_of(stream_with(0.3), {.fault = at(0.9)}), 0, 1e-6);
  std::vector<Point> ids = stream_with(0);
  for (int i = 0; i < 600; ++i) ids.push_back(at(1 + 0.01 * i));
  ids.push_back(at(9));
  EXPECT_NEAR(*stall_of(ids, {.fault = at(0.495)}), 0, 1e-6);
}

TEST(StallTest, GivesTheNextFaultWhatIsIts) {
  const FaultTime time{.fault = at(0.2), .next_fault = at(0.5)};
  EXPECT_NEAR(*stall_of(stream_with(3), time), 0, 1e-6);
}

TEST(StallTest, LeavesAnEarlierFaultWhatIsThatOnes) {
  EXPECT_NEAR(*stall_of(stream_with(3), {.fault = at(2.5)}), 1, 1e-6);
}

TEST(StallTest, IsNothingForStreamsThatWereNotOpen) {
  EXPECT_FALSE(stall_of(stream_with(0.3), {.fault = at(0.03)}).has_value());
  EXPECT_FALSE(stall_of(stream_with(0.3), {.fault = at(5)}).has_value());
  EXPECT_FALSE(stall_of({}, {.fault = at(0)}).has_value());
}

TEST(PercentileTest, IsTheNearestRank) {
  EXPECT_EQ(percentile({3, 1, 2}, 0.99), 3);
  EXPECT_EQ(percentile({3, 1, 2}, 0.5), 2);
  EXPECT_EQ(percentile({7}, 0), 7);
}

}  // namespace
}  // namespace conclave
