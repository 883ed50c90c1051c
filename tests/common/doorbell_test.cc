// A ring between ticket() and wait() is never lost, with sleeping and with spinning; without one
// wait() ends with its time.

#include "common/doorbell.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "absl/time/clock.h"

namespace conclave {
namespace {

class DoorbellTest : public testing::TestWithParam<int> {
 protected:
  DoorbellWord word_;
  Doorbell bell_{&word_, absl::Microseconds(GetParam())};
};

TEST_P(DoorbellTest, EndsWithItsTime) {
  const absl::Time before = absl::Now();
  EXPECT_FALSE(bell_.wait(bell_.ticket(), absl::Milliseconds(20)));
  EXPECT_GE(absl::Now() - before, absl::Milliseconds(20));
  EXPECT_FALSE(bell_.wait(bell_.ticket(), absl::ZeroDuration()));
}

TEST_P(DoorbellTest, ARingBeforeTheWaitCounts) {
  const uint32_t ticket = bell_.ticket();
  bell_.ring();
  EXPECT_TRUE(bell_.wait(ticket, absl::InfiniteDuration()));
  EXPECT_FALSE(bell_.wait(bell_.ticket(), absl::Milliseconds(1)));
}

// Every item that is put down is taken up, though the sleeper may sleep for ever.
TEST_P(DoorbellTest, NoRingIsLost) {
  constexpr int kItems = 20000;
  std::atomic<int> items{0};
  std::thread ringer([&] {
    for (int i = 0; i < kItems; ++i) {
      items.fetch_add(1);
      bell_.ring();
      if (i % 64 == 0) std::this_thread::yield();
    }
  });
  int taken = 0;
  while (taken < kItems) {
    const uint32_t ticket = bell_.ticket();
    const int there = items.exchange(0);
    taken += there;
    if (there > 0) continue;
    EXPECT_TRUE(bell_.wait(ticket, absl::InfiniteDuration()));
  }
  ringer.join();
}

INSTANTIATE_TEST_SUITE_P(Spins, DoorbellTest, testing::Values(0, 50));

}  // namespace
}  // namespace conclave
