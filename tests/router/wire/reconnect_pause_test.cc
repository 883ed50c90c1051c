// What pauses must keep: they double up to the longest, each is between half of that and all of it,
// and they begin anew after a reset.

#include "router/wire/reconnect_pause.h"

#include <gtest/gtest.h>

#include <set>

namespace conclave {
namespace {

TEST(ReconnectPauseTest, PausesGrow) {
  ReconnectPause pause({.first = absl::Milliseconds(50), .longest = absl::Seconds(2)});
  std::set<absl::Duration> seen;
  for (int round = 0; round < 3; ++round) {
    absl::Duration whole = absl::Milliseconds(50);
    for (int i = 0; i < 40; ++i) {
      const absl::Duration next = pause.next();
      EXPECT_GE(next, whole / 2);
      EXPECT_LE(next, whole);
      seen.insert(next);
      whole = std::min(whole * 2, absl::Seconds(2));
    }
    pause.reset();
  }
  EXPECT_GT(seen.size(), 100u);  // no two clients come back together
}

}  // namespace
}  // namespace conclave
