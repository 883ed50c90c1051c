// How a waiting place behaves, whatever the clock says:
//   - what is true already is neither spun nor slept for;
//   - where spinning is not allowed, or was in vain too often, a wait sleeps at once;
//   - a sleep that ends too early is slept on.

#include "common/spin_wait.h"

#include <gtest/gtest.h>

#include <thread>

#include "common/usable_cores.h"

namespace conclave {
namespace {

TEST(SpinWaitTest, WhatIsTrueIsNotWaitedFor) {
  SpinWait wait(/*may_spin=*/true);
  int num_looks = 0;
  wait.wait([&] { return ++num_looks > 0; }, [] { FAIL() << "slept"; });
  EXPECT_EQ(num_looks, 1);
  EXPECT_TRUE(wait.spins());
}

TEST(SpinWaitTest, SleepsAtOnceWhereItMayNotSpin) {
  SpinWait wait(/*may_spin=*/false);
  EXPECT_FALSE(wait.spins());
  int num_looks = 0;
  bool slept = false;
  wait.wait([&] { return ++num_looks > 2; }, [&] { slept = true; });
  EXPECT_TRUE(slept);
  EXPECT_EQ(num_looks, 3);
}

TEST(SpinWaitTest, SleepsOnWhenItWakesTooEarly) {
  SpinWait wait(/*may_spin=*/true);
  int num_sleeps = 0;
  wait.wait([&] { return num_sleeps == 5; }, [&] { ++num_sleeps; });
  EXPECT_EQ(num_sleeps, 5);
}

// A wait whose end comes while it sleeps, however long it spun before.
void wait_in_vain(SpinWait* wait) {
  bool awake = false;
  wait->wait([&] { return awake; }, [&] { awake = true; });
}

TEST(SpinWaitTest, SpinsInVainEndTheSpinningForAWhile) {
  SpinWait wait(/*may_spin=*/true);
  int32_t num_spins = 0;
  for (; wait.spins(); ++num_spins) wait_in_vain(&wait);
  EXPECT_GT(num_spins, 0);
  EXPECT_LE(num_spins, SpinWait::kMostHope);
  for (int round = 0; round < 3; ++round) {
    int32_t num_skipped = 1;  // the last spin's wait slept too
    for (; !wait.spins(); ++num_skipped) wait_in_vain(&wait);
    EXPECT_EQ(num_skipped, SpinWait::kSkipped);
    wait_in_vain(&wait);
    EXPECT_FALSE(wait.spins());
  }
}

TEST(UsableCoresTest, ThereIsOneAtLeast) {
  EXPECT_GE(num_usable_cores(), 1);
  EXPECT_GE(cores_of_mask().size(), static_cast<size_t>(num_usable_cores()));
}

TEST(UsableCoresTest, APinnedThreadHasOneCore) {
  const std::vector<int32_t> cores = cores_of_mask();
  std::thread([&] {
    EXPECT_TRUE(pin_thread(pthread_self(), cores.back()).ok());
    EXPECT_EQ(cores_of_mask(), std::vector<int32_t>{cores.back()});
    EXPECT_EQ(num_usable_cores(), 1);
  }).join();
  EXPECT_EQ(cores_of_mask(), cores);
}

TEST(UsableCoresTest, ACoreThatIsNotThereIsAnError) {
  const absl::Status status = pin_thread(pthread_self(), CPU_SETSIZE - 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
}

}  // namespace
}  // namespace conclave
