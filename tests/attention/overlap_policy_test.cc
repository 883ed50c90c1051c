// What the choice between whole steps and halves must keep:
//   - on and off are obeyed; a step of one row has no halves whatever is said;
//   - auto takes the way that was measured to be faster, waiting and second reading together, and
//     what it takes is worth kMargin at least when it changes;
//   - steps that hardly wait are never halved;
//   - sizes are learned apart, what was learned is tried again, and one odd step decides nothing.

#include "attention/overlap_policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace conclave {
namespace {

constexpr int32_t kTrial = 2 * OverlapPolicy::kTrialPairs;
constexpr int32_t kSettled = OverlapPolicy::kStepsBetweenTrials;

// A machine whose layers compute for `compute`, whose legs take `legs`, and where a second reading
// of the weights costs `reading`. Half of the compute hides the other half's legs.
struct Machine {
  absl::Duration compute;
  absl::Duration legs;
  absl::Duration reading;

  WalkedStep walk(int32_t num_tokens, bool halves) const {
    const absl::Duration computing = halves ? compute + reading : compute;
    const absl::Duration waited =
        halves ? std::max(absl::ZeroDuration(), legs - computing / 2) : legs;
    return {
        .num_tokens = num_tokens, .halves = halves, .time = computing + waited, .waited = waited};
  }
};

const Machine kSlowLegs{absl::Milliseconds(4), absl::Milliseconds(1), absl::Microseconds(200)};
const Machine kDearReading{absl::Milliseconds(4), absl::Milliseconds(1), absl::Milliseconds(2)};
const Machine kNoLegs{absl::Milliseconds(4), absl::Microseconds(20), absl::ZeroDuration()};

// Which of the next `count` steps were halved.
std::vector<bool> run(const Machine& machine, int32_t count, int32_t num_tokens,
                      OverlapPolicy* policy) {
  std::vector<bool> halved;
  for (int32_t i = 0; i < count; ++i) {
    halved.push_back(policy->wants_halves(num_tokens));
    policy->on_step(machine.walk(num_tokens, halved.back()));
  }
  return halved;
}

int64_t num_halved(const std::vector<bool>& steps) {
  return std::count(steps.begin(), steps.end(), true);
}

TEST(OverlapPolicyTest, NamesOfTheWays) {
  EXPECT_EQ(parse_overlap("auto"), Overlap::kAuto);
  EXPECT_EQ(parse_overlap("on"), Overlap::kOn);
  EXPECT_EQ(parse_overlap("off"), Overlap::kOff);
  EXPECT_EQ(parse_overlap("On"), std::nullopt);
  EXPECT_EQ(parse_overlap(""), std::nullopt);
}

TEST(OverlapPolicyTest, OnAndOffAreObeyed) {
  OverlapPolicy on(Overlap::kOn);
  OverlapPolicy off(Overlap::kOff);
  EXPECT_EQ(num_halved(run(kNoLegs, 50, 8, &on)), 50);
  EXPECT_EQ(num_halved(run(kSlowLegs, 50, 8, &off)), 0);
}

TEST(OverlapPolicyTest, OneRowHasNoHalves) {
  for (const Overlap overlap : {Overlap::kAuto, Overlap::kOn, Overlap::kOff}) {
    OverlapPolicy policy(overlap);
    EXPECT_EQ(num_halved(run(kSlowLegs, 50, 1, &policy)), 0);
  }
}

TEST(OverlapPolicyTest, HalvesWhereLegsAreSlow) {
  OverlapPolicy policy(Overlap::kAuto);
  const std::vector<bool> trial = run(kSlowLegs, kTrial, 8, &policy);
  const std::vector<bool> in_turn = {false, false, true,  false, true,
                                     false, true,  false, true,  true};
  EXPECT_EQ(trial, in_turn);
  EXPECT_EQ(num_halved(run(kSlowLegs, kSettled, 8, &policy)), kSettled);
}

TEST(OverlapPolicyTest, WholeStepsWhereTheSecondReadingCostsMore) {
  OverlapPolicy policy(Overlap::kAuto);
  EXPECT_EQ(num_halved(run(kDearReading, kTrial, 8, &policy)), kTrial / 2);
  EXPECT_EQ(num_halved(run(kDearReading, kSettled, 8, &policy)), 0);
}

// Not even tried.
TEST(OverlapPolicyTest, WholeStepsWhereThereIsNothingToHide) {
  OverlapPolicy policy(Overlap::kAuto);
  EXPECT_EQ(num_halved(run(kNoLegs, 10 * kSettled, 8, &policy)), 0);
}

TEST(OverlapPolicyTest, WhatWasLearnedIsTriedAgain) {
  OverlapPolicy policy(Overlap::kAuto);
  run(kSlowLegs, kTrial + kSettled, 8, &policy);
  run(kDearReading, kTrial, 8, &policy);
  EXPECT_EQ(num_halved(run(kDearReading, kSettled, 8, &policy)), 0);
  run(kSlowLegs, kTrial, 8, &policy);
  EXPECT_EQ(num_halved(run(kSlowLegs, kSettled, 8, &policy)), kSettled);
  run(kNoLegs, kTrial, 8, &policy);
  EXPECT_EQ(num_halved(run(kNoLegs, kSettled - kTrial, 8, &policy)), 0);
}

TEST(OverlapPolicyTest, SizesAreLearnedApart) {
  OverlapPolicy policy(Overlap::kAuto);
  run(kSlowLegs, kTrial, 512, &policy);
  run(kDearReading, kTrial, 8, &policy);
  EXPECT_TRUE(policy.wants_halves(512));
  EXPECT_TRUE(policy.wants_halves(639)) << "four classes to a doubling";
  EXPECT_FALSE(policy.wants_halves(640));
  EXPECT_FALSE(policy.wants_halves(511));
  EXPECT_FALSE(policy.wants_halves(8));
  EXPECT_FALSE(policy.wants_halves(INT32_MAX));
}

// A difference within the margin changes nothing, from either side.
TEST(OverlapPolicyTest, NoiseMovesNothing) {
  const Machine even{absl::Milliseconds(10), absl::Milliseconds(1), absl::Microseconds(900)};
  OverlapPolicy whole(Overlap::kAuto);
  run(even, kTrial, 8, &whole);
  EXPECT_EQ(num_halved(run(even, kSettled, 8, &whole)), 0);

  const Machine a_little_worse{absl::Milliseconds(10), absl::Milliseconds(1),
                               absl::Microseconds(1100)};
  OverlapPolicy halves(Overlap::kAuto);
  run(kSlowLegs, kTrial + kSettled, 8, &halves);
  run(a_little_worse, kTrial, 8, &halves);
  EXPECT_EQ(num_halved(run(a_little_worse, kSettled, 8, &halves)), kSettled);
}

TEST(OverlapPolicyTest, OneOddStepOfEachWayDecidesNothing) {
  for (const Machine& machine : {kSlowLegs, kDearReading}) {
    OverlapPolicy policy(Overlap::kAuto);
    for (int32_t i = 0; i < kTrial; ++i) {
      WalkedStep step = machine.walk(8, policy.wants_halves(8));
      if (i == 2 || i == 5) step.time *= 50;  // one in halves, one whole
      policy.on_step(step);
    }
    OverlapPolicy even(Overlap::kAuto);
    run(machine, kTrial, 8, &even);
    EXPECT_EQ(policy.wants_halves(8), even.wants_halves(8));
  }
}

}  // namespace
}  // namespace conclave
