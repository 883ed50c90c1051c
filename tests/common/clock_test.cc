// What the machine's clock must keep: it never goes backwards, and it goes on.

#include "common/clock.h"

#include <gtest/gtest.h>

namespace conclave {
namespace {

TEST(SystemClockTest, NeverGoesBackwards) {
  const SystemClock clock;
  absl::Time last = clock.now();
  for (int i = 0; i < 10'000; ++i) {
    const absl::Time now = clock.now();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(SystemClockTest, GoesOn) {
  const SystemClock clock;
  const absl::Time start = clock.now();
  while (clock.now() == start) {
  }
  EXPECT_GT(clock.now(), start);
}

}  // namespace
}  // namespace conclave
