// What a router makes of what it has seen of a server:
//   - a loss makes it avoided for a pause that doubles with every further one and starts anew after
//     an answer; legs that were away together are one loss;
//   - patience follows what answers took, for legs of any size; before there are enough of them it
//     is long, and ends all the same;
//   - a leg may be hedged well before that, once it is known what answers take;
//   - one that was late is avoided in proportion to what it was waited for, one that was silent is
//     not asked for as long as is said;
//   - retries are earned by answers and limited, and half of them are not for hedges;
//   - picks that are away are counted, and a server that has left is forgotten.

#include "router/replica_health.h"

#include <gtest/gtest.h>

#include "tests/support/manual_clock.h"

namespace conclave {
namespace {

constexpr ServerId kA{3};
constexpr ServerId kB{8};

class ReplicaHealthTest : public testing::Test {
 protected:
  void answer(ServerId server, int32_t num_picks, absl::Duration latency) {
    health_.on_sent(server, num_picks);
    health_.on_answer(server, num_picks, latency);
  }
  void lose(ServerId server) {
    health_.on_sent(server, 1);
    health_.on_loss(server, 1);
  }

  // Server A, from now on, and no longer.
  void expect_avoided_for(absl::Duration pause) {
    clock_.advance(pause - absl::Milliseconds(1));
    EXPECT_TRUE(health_.is_avoided(kA)) << pause;
    clock_.advance(absl::Milliseconds(1));
    EXPECT_FALSE(health_.is_avoided(kA)) << pause;
  }

  ManualClock clock_;
  ReplicaHealth health_{&clock_};
};

TEST_F(ReplicaHealthTest, ALossIsAvoidedForAPauseThatDoubles) {
  EXPECT_FALSE(health_.is_avoided(kA));
  absl::Duration pause = ReplicaHealth::kFirstPause;
  for (int i = 0; i < 12; ++i) {
    lose(kA);
    EXPECT_FALSE(health_.is_avoided(kB));
    expect_avoided_for(pause);
    pause = std::min(2 * pause, ReplicaHealth::kLongestPause);
  }
  answer(kA, 1, absl::Milliseconds(1));
  lose(kA);
  clock_.advance(ReplicaHealth::kFirstPause);
  EXPECT_FALSE(health_.is_avoided(kA)) << "an answer starts the pauses anew";
}

TEST_F(ReplicaHealthTest, LegsThatWereAwayTogetherAreOneLoss) {
  for (int i = 0; i < 9; ++i) lose(kA);
  clock_.advance(ReplicaHealth::kFirstPause);
  EXPECT_FALSE(health_.is_avoided(kA));
}

TEST_F(ReplicaHealthTest, AnAnswerEndsThePause) {
  lose(kA);
  answer(kA, 1, absl::Milliseconds(1));
  EXPECT_FALSE(health_.is_avoided(kA));
}

TEST_F(ReplicaHealthTest, PatienceFollowsALineOfTheLegsSize) {
  const auto takes = [](int32_t num_picks) {
    return absl::Milliseconds(20) + num_picks * absl::Milliseconds(2);
  };
  for (int i = 0; i < 100; ++i) answer(kA, 1 + i % 40, takes(1 + i % 40));
  for (const int32_t num_picks : {1, 40, 1000}) {
    const double expected = absl::ToDoubleSeconds(ReplicaHealth::kPatience * takes(num_picks));
    EXPECT_NEAR(absl::ToDoubleSeconds(health_.patience(kA, num_picks)), expected, expected * 0.01);
  }
}

TEST_F(ReplicaHealthTest, LegsOfOneSizeSayHowALargerOneScales) {
  for (int i = 0; i < 20; ++i) answer(kA, 4, absl::Milliseconds(100));
  const absl::Duration of_four = ReplicaHealth::kPatience * absl::Milliseconds(100);
  EXPECT_NEAR(absl::FDivDuration(health_.patience(kA, 4), of_four), 1, 1e-6);
  EXPECT_NEAR(absl::FDivDuration(health_.patience(kA, 400), of_four), 100, 1e-3);
  EXPECT_NEAR(absl::FDivDuration(health_.patience(kA, 1), of_four), 1, 1e-6);
}

TEST_F(ReplicaHealthTest, PatienceForgetsOldTimesAndHasALeast) {
  for (int i = 0; i < 50; ++i) answer(kA, 1, absl::Seconds(1));
  for (int i = 0; i < 2000; ++i) answer(kA, 1, absl::Microseconds(50));
  EXPECT_EQ(health_.patience(kA, 1), ReplicaHealth::kLeastPatience);
}

TEST_F(ReplicaHealthTest, FewAnswersSayNothingAndPatienceEndsAllTheSame) {
  const auto first = [](int32_t num_picks) {
    return ReplicaHealth::kFirstPatience + num_picks * ReplicaHealth::kFirstPatiencePerPick;
  };
  EXPECT_EQ(health_.patience(kB, 1), first(1));
  for (int i = 0; i < 7; ++i) answer(kA, 1, absl::Milliseconds(1));
  EXPECT_EQ(health_.patience(kA, 1), first(1));
  EXPECT_EQ(health_.patience(kA, 300), first(300));
  answer(kA, 1, absl::Milliseconds(1));
  EXPECT_EQ(health_.patience(kA, 1), ReplicaHealth::kLeastPatience);
}

TEST_F(ReplicaHealthTest, HedgesComeBeforePatienceAndNeverUnasked) {
  EXPECT_EQ(health_.hedge_delay(kA, 1), absl::InfiniteDuration());
  for (int i = 0; i < 7; ++i) answer(kA, 4, absl::Milliseconds(50));
  EXPECT_EQ(health_.hedge_delay(kA, 4), absl::InfiniteDuration());
  answer(kA, 4, absl::Milliseconds(50));
  const double delay = absl::ToDoubleSeconds(health_.hedge_delay(kA, 4));
  EXPECT_NEAR(delay, ReplicaHealth::kHedge * 0.05, 1e-6);
  for (int i = 0; i < 20; ++i) answer(kB, 4, absl::Milliseconds(1));
  EXPECT_EQ(health_.hedge_delay(kB, 4), ReplicaHealth::kLeastHedgeDelay);
  for (const ServerId server : {kA, kB}) {
    for (const int32_t num_picks : {1, 4, 1000}) {
      EXPECT_LT(health_.hedge_delay(server, num_picks), health_.patience(server, num_picks));
    }
  }
}

TEST_F(ReplicaHealthTest, WhoWasLateIsAvoidedByWhatItWasWaitedFor) {
  const absl::Duration waited = absl::Milliseconds(40);
  absl::Duration pause = ReplicaHealth::kPausePerLateness * waited;
  for (int i = 0; i < 12; ++i) {
    health_.on_sent(kA, 3);
    health_.on_late(kA, 3, waited);
    EXPECT_EQ(health_.picks_away(kA), 0);
    EXPECT_EQ(health_.weight(kA), 1);
    expect_avoided_for(pause);
    pause = std::min(2 * pause, ReplicaHealth::kLongestPause);
  }
  answer(kA, 1, absl::Milliseconds(1));
  health_.on_late(kA, 0, waited);
  health_.on_late(kA, 0, waited);  // was away at the same time
  clock_.advance(ReplicaHealth::kPausePerLateness * waited);
  EXPECT_FALSE(health_.is_avoided(kA)) << "an answer starts the pauses anew";
}

TEST_F(ReplicaHealthTest, SilenceLastsAsLongAsItIsToldUnlessTheServerLeaves) {
  health_.on_silence(kA, absl::Seconds(2));
  health_.on_silence(kB, absl::Seconds(2));
  Placement placement(1, 1, 1);
  placement.add(0, 0, kB);
  health_.keep_only(placement);
  EXPECT_FALSE(health_.is_silent(kA));
  EXPECT_TRUE(health_.is_silent(kB));
  clock_.advance(absl::Seconds(2));
  EXPECT_FALSE(health_.is_silent(kB));
}

TEST_F(ReplicaHealthTest, HedgesLeaveHalfOfTheRetries) {
  int taken = 0;
  for (; health_.has_hedge(); ++taken) health_.take_retry();
  const double spare = ReplicaHealth::kMostRetries - ReplicaHealth::kRetriesNotForHedges;
  EXPECT_EQ(taken, static_cast<int>(spare));
  EXPECT_TRUE(health_.has_retry());
}

TEST_F(ReplicaHealthTest, RetriesAreEarned) {
  int taken = 0;
  for (; health_.has_retry(); ++taken) health_.take_retry();
  EXPECT_EQ(taken, static_cast<int>(ReplicaHealth::kMostRetries));
  for (int i = 0; i < 9; ++i) answer(kA, 1, absl::Milliseconds(1));
  EXPECT_FALSE(health_.has_retry());
  for (int i = 0; i < 2; ++i) answer(kA, 1, absl::Milliseconds(1));
  EXPECT_TRUE(health_.has_retry());
  for (int i = 0; i < 100'000; ++i) answer(kA, 1, absl::Milliseconds(1));
  for (taken = 0; health_.has_retry(); ++taken) health_.take_retry();
  EXPECT_EQ(taken, static_cast<int>(ReplicaHealth::kMostRetries)) << "more were saved up";
}

TEST_F(ReplicaHealthTest, PicksAreAwayUntilTheirLegIsOver) {
  health_.on_sent(kA, 5);
  health_.on_sent(kA, 7);
  health_.on_sent(kA, 9);
  EXPECT_EQ(health_.picks_away(kA), 21);
  health_.on_answer(kA, 5, absl::Milliseconds(1));
  health_.on_loss(kA, 7);
  EXPECT_EQ(health_.picks_away(kA), 9);
  health_.on_given_back(kA, 9);
  EXPECT_EQ(health_.picks_away(kA), 0);
  EXPECT_EQ(health_.picks_away(kB), 0);
}

TEST_F(ReplicaHealthTest, WhoHasLeftIsForgotten) {
  lose(kA);
  lose(kB);
  health_.on_sent(kA, 4);
  Placement placement(1, 1, 1);
  placement.add(0, 0, kB);
  health_.keep_only(placement);
  EXPECT_FALSE(health_.is_avoided(kA));
  EXPECT_TRUE(health_.is_avoided(kB));
  EXPECT_EQ(health_.picks_away(kA), 0);
  health_.on_answer(kA, 4, absl::Milliseconds(1));  // comes late, and harms nothing
  EXPECT_EQ(health_.picks_away(kA), 0);
}

TEST_F(ReplicaHealthTest, ItsShareComesBackStepByStep) {
  EXPECT_EQ(health_.weight(kA), 1);
  lose(kA);
  EXPECT_EQ(health_.weight(kB), 1);
  for (int64_t weight = ReplicaHealth::kFirstWeight; weight > 1; weight /= 2) {
    EXPECT_EQ(health_.weight(kA), weight);
    for (int i = 0; i < ReplicaHealth::kAnswersAStep; ++i) answer(kA, 1, absl::Milliseconds(1));
  }
  EXPECT_EQ(health_.weight(kA), 1);
}

TEST_F(ReplicaHealthTest, WhoComesBackSoonIsAskedLittleAtFirst) {
  lose(kA);
  health_.keep_only(Placement(1, 1, 1));
  EXPECT_FALSE(health_.is_avoided(kA));
  EXPECT_EQ(health_.weight(kA), ReplicaHealth::kFirstWeight);
  lose(kA);
  clock_.advance(ReplicaHealth::kFirstPause);
  EXPECT_TRUE(health_.is_avoided(kA)) << "it is lost again and again";
  clock_.advance(ReplicaHealth::kRemembered + absl::Seconds(1));
  health_.keep_only(Placement(1, 1, 2));
  EXPECT_EQ(health_.weight(kA), 1);
}

}  // namespace
}  // namespace conclave
