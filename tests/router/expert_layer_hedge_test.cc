// What a layer must keep when it sends a late leg's picks to others as well, whoever is first:
//   - the sums have the bits that the late leg alone would have given;
//   - a leg that was late and first ends its hedges, and nobody is thought ill of;
//   - hedges that were all first end the late leg, and its server is avoided for a while;
//   - a hedge that fails, or says what is not finite, leaves everything to the late leg;
//   - a late leg that fails, or is waited for long enough, leaves its place to its hedges;
//   - every leg is reported once, and none is thought to be away when the step is over.

#include <map>

#include "tests/router/hedge_fixture.h"

namespace conclave {
namespace {

using testing::ElementsAre;

TEST_F(HedgeTest, WhoHangsIsOutrun) {
  use(main_and_spares(1));
  slow_.silent = {kMain};
  EXPECT_EQ(run_on(), kDelay);
  EXPECT_THAT(reports_.hedges, ElementsAre(HedgeOutcome::kWon));
  EXPECT_THAT(ends_at(kMain), ElementsAre(kCancelled));
  EXPECT_THAT(ends_at(kSpare), ElementsAre(kOk));
  EXPECT_EQ(reports_.num_moved, 0);
}

TEST_F(HedgeTest, WhoHangsCostsTheNextLayersNothing) {
  use(main_and_spares(1));
  slow_.silent = {kMain};
  absl::Duration pause = ReplicaHealth::kPausePerLateness * kDelay;
  for (int round = 0; round < 4; ++round) {
    EXPECT_EQ(run_on(), kDelay);
    for (int layer = 0; layer < 3; ++layer) EXPECT_EQ(run_on(), absl::ZeroDuration());
    EXPECT_TRUE(is_avoided(kMain));
    hands_.advance(pause);
    EXPECT_FALSE(is_avoided(kMain)) << "longer than for a server that is lost";
    EXPECT_EQ(layer_->health().weight(kMain), 1);
    pause *= 2;
  }
  slow_.silent = {};
  EXPECT_EQ(run_on(), absl::ZeroDuration());
  slow_.silent = {kMain};
  EXPECT_EQ(run_on(), kDelay) << "an answer ends the pauses";
  hands_.advance(ReplicaHealth::kPausePerLateness * kDelay);
  EXPECT_FALSE(is_avoided(kMain));
}

TEST_F(HedgeTest, TheLateLegMayBeFirst) {
  use(main_and_spares(1));
  slow_.delay = {{kMain, absl::Milliseconds(40)}, {kSpare, absl::Milliseconds(20)}};
  EXPECT_EQ(run_on(), absl::Milliseconds(40));
  EXPECT_THAT(reports_.hedges, ElementsAre(HedgeOutcome::kLost));
  EXPECT_THAT(ends_at(kMain), ElementsAre(kOk));
  EXPECT_THAT(ends_at(kSpare), ElementsAre(kCancelled));
  EXPECT_FALSE(is_avoided(kMain));
  EXPECT_FALSE(is_avoided(kSpare));
}

TEST_F(HedgeTest, AllHedgesHaveToBeThere) {
  use(main_and_spares(2));
  slow_.delay[kMain] = absl::Milliseconds(50);
  slow_.silent = {kOther};
  EXPECT_EQ(run_on(), absl::Milliseconds(50));
  EXPECT_THAT(reports_.hedges, ElementsAre(HedgeOutcome::kLost));
  EXPECT_THAT(ends_at(kSpare), ElementsAre(kOk));
  EXPECT_THAT(ends_at(kOther), ElementsAre(kCancelled));

  forget();
  slow_.silent = {kMain};
  slow_.delay = {{kSpare, absl::Milliseconds(5)}, {kOther, absl::Milliseconds(25)}};
  EXPECT_EQ(run_on(), kDelay + absl::Milliseconds(25));
  EXPECT_THAT(reports_.hedges, ElementsAre(HedgeOutcome::kWon));
  EXPECT_THAT(ends_at(kMain), ElementsAre(kCancelled));
}

TEST_F(HedgeTest, AHedgeThatFailsIsNotWaitedFor) {
  use(main_and_spares(2));
  tricks(kSpare).status = absl::UnavailableError("killed");
  slow_.delay = {{kMain, absl::Milliseconds(60)}, {kOther, absl::Milliseconds(40)}};
  EXPECT_EQ(run_on(), absl::Milliseconds(60));
  EXPECT_THAT(reports_.hedges, ElementsAre(HedgeOutcome::kDropped));
  EXPECT_THAT(ends_at(kMain), ElementsAre(kOk));
  EXPECT_THAT(ends_at(kSpare), ElementsAre(absl::StatusCode::kUnavailable));
  EXPECT_THAT(ends_at(kOther), ElementsAre(kCancelled));
  EXPECT_TRUE(is_avoided(kSpare));
}

TEST_F(HedgeTest, AfterAHedgeThatFailedPatienceIsAsEver) {
  use(main_and_spares(2));
  tricks(kSpare).status = absl::UnavailableError("killed");
  slow_.silent = {kMain};
  EXPECT_EQ(run_on(), ReplicaHealth::kLeastPatience);
  EXPECT_THAT(reports_.hedges, ElementsAre(HedgeOutcome::kDropped));
  EXPECT_EQ(reports_.num_moved, 1);
  EXPECT_THAT(ends_at(kMain), ElementsAre(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(HedgeTest, AHedgeThatIsNotFiniteLeavesItToTheLateLeg) {
  use(main_and_spares(1));
  slow_.delay[kMain] = absl::Milliseconds(60);
  for (int32_t e = 0; e < kNumExperts; ++e) {
    forget();
    tricks(kSpare).nan_of_expert = e;
    EXPECT_EQ(run_on(), absl::Milliseconds(60));
    EXPECT_THAT(reports_.hedges, ElementsAre(HedgeOutcome::kDropped));
    EXPECT_FALSE(is_avoided(kSpare)) << "it answered";
  }
  tricks(kSpare) = {.num_extra_bytes = 1};
  EXPECT_EQ(run_on(), absl::Milliseconds(60));
}

// What fails: the line, the frame, the size, the numbers.
TEST_F(HedgeTest, HedgesTakeThePlaceOfALateLegThatFails) {
  const FakeExpertServer::Tricks all_tricks[] = {{.status = absl::UnavailableError("killed")},
                                                 {.status = absl::DataLossError("damaged")},
                                                 {.num_extra_bytes = -2},
                                                 {.nan_of_expert = 3}};
  for (const FakeExpertServer::Tricks& trick : all_tricks) {
    tricks(kMain) = {};
    slow_.delay = {};
    use(main_and_spares(1));
    tricks(kMain) = trick;
    slow_.delay = {{kMain, absl::Milliseconds(40)}, {kSpare, absl::Milliseconds(25)}};
    EXPECT_EQ(run_on(), kDelay + absl::Milliseconds(25));
    EXPECT_THAT(reports_.hedges, ElementsAre(HedgeOutcome::kTookOver));
    EXPECT_EQ(reports_.num_moved, 1);
    EXPECT_THAT(ends_at(kMain), ElementsAre(trick.status.code()));
    EXPECT_THAT(ends_at(kSpare), ElementsAre(kOk));
    EXPECT_EQ(is_avoided(kMain), !trick.status.ok());
  }
}

// One part was there already when the late leg failed, the other fails afterwards.
TEST_F(HedgeTest, HedgesThatTookOverAreLegsLikeOthers) {
  use(main_and_spares(2));
  tricks(kMain).status = tricks(kOther).status = absl::UnavailableError("killed");
  slow_.delay = {{kMain, absl::Milliseconds(40)}, {kOther, absl::Milliseconds(25)}};
  EXPECT_EQ(run_on(), kDelay + absl::Milliseconds(25));
  EXPECT_THAT(reports_.hedges, ElementsAre(HedgeOutcome::kTookOver));
  EXPECT_EQ(reports_.num_moved, 2);
  EXPECT_THAT(ends_at(kSpare), ElementsAre(kOk, kOk));
}

TEST_F(HedgeTest, PatienceLeavesTheLateLegsPlaceToItsHedges) {
  use(main_and_spares(1));
  slow_.silent = {kMain};
  slow_.delay[kSpare] = absl::Milliseconds(90);
  EXPECT_EQ(run_on(), kDelay + absl::Milliseconds(90));
  EXPECT_THAT(reports_.hedges, ElementsAre(HedgeOutcome::kTookOver));
  EXPECT_THAT(ends_at(kMain), ElementsAre(absl::StatusCode::kDeadlineExceeded));
  hands_.advance(ReplicaHealth::kFirstPause - absl::Milliseconds(21));
  EXPECT_TRUE(is_avoided(kMain)) << "it is lost, not only late";
}

TEST_F(HedgeTest, HedgesAreNotHedged) {
  use(everywhere(3));
  Placement placement(2, kNumExperts, 2);
  for (int32_t e = 0; e < kNumExperts; ++e) {
    for (const ServerId server : {kMain, kSpare, kOther}) {
      placement.add(kLayer, e, server, /*draining=*/server != kMain);
    }
  }
  layer_->set_placement(std::move(placement));
  ASSERT_LT(layer_->health().hedge_delay(kOther, 8), absl::InfiniteDuration());
  slow_.silent = {kMain};
  slow_.delay[kOther] = absl::Milliseconds(65);  // from 30 to 95
  EXPECT_EQ(run_on(), absl::Milliseconds(95));
  EXPECT_EQ(slow_.num_sent, 3);
  EXPECT_THAT(reports_.hedges, ElementsAre(HedgeOutcome::kWon));
}

// The last answer is handed out while the late leg is given up.
TEST_F(HedgeTest, WhatComesWhileALegIsEndedIsNotForgotten) {
  Placement placement(2, kNumExperts, 1);
  for (int32_t e = 0; e < kNumExperts; ++e) {
    placement.add(kLayer, e, e < 3 ? kMain : kOther);
    if (e < 3) placement.add(kLayer, e, kSpare, /*draining=*/true);
  }
  use(std::move(placement));
  slow_.order = SlowTransport::Order::kNewestFirst;
  slow_.always_looks = true;
  slow_.silent = {kMain};
  slow_.delay = {{kSpare, absl::Milliseconds(20)}, {kOther, kDelay + absl::Milliseconds(20)}};
  EXPECT_EQ(run_on(), kDelay + absl::Milliseconds(20));
  EXPECT_THAT(ends_at(kOther), ElementsAre(kOk));
}

TEST_F(HedgeTest, TheStepsDeadlineEndsBothSides) {
  use(main_and_spares(1));
  Matrix<float> x = random_rows(3, 1);
  slow_.silent = {kMain, kSpare};
  const absl::Time before = hands_.now();
  ASSERT_TRUE(run(layer_.get(), x.view()).ok());
  EXPECT_EQ(hands_.now() - before, kTimeout);
  EXPECT_FALSE(step_.faults.empty());
  expect_nothing_away();
}

TEST_F(HedgeTest, WhoWasAskedJustBeforeTheDeadlineIsNotSilent) {
  layer_ = slow_layer(main_and_spares(0));
  slow_.delay[kMain] = kTimeout / 3 - absl::Milliseconds(50);
  for (int i = 0; i < 8; ++i) expect_untroubled(layer_.get());
  layer_->set_placement(main_and_spares(1));
  slow_.silent = {kMain, kSpare};
  ASSERT_TRUE(run(layer_.get(), random_rows(40, /*seed=*/6).view()).ok());
  EXPECT_FALSE(step_.faults.empty());
  EXPECT_EQ(slow_.num_sent, 8 + 2);
  EXPECT_TRUE(layer_->health().is_silent(kMain));
  EXPECT_FALSE(layer_->health().is_silent(kSpare));
}

// Servers that are late, silent, broken or mad, by chance; the last one holds everything and is
// well.
TEST_F(HedgeTest, SumsHaveTheSameBitsWhoeverIsFirst) {
  std::mt19937 rng(11);
  std::map<HedgeOutcome, int> outcomes;
  for (int round = 0; round < 60; ++round) {
    Placement placement(2, kNumExperts, 1);
    for (int32_t e = 0; e < kNumExperts; ++e) {
      for (int32_t s = 0; s < 4; ++s) {
        if (rng() % 3 > 0) placement.add(kLayer, e, ServerId{s});
      }
      placement.add(kLayer, e, ServerId{4}, /*draining=*/true);
    }
    slow_.delay = {};
    slow_.silent = {};
    for (FakeExpertServer& server : servers_) server.tricks = {};
    use(std::move(placement));
    for (int step = 0; step < 8; ++step) {
      slow_.silent = {};
      for (int32_t s = 0; s < 4; ++s) {
        FakeExpertServer::Tricks& tricks = servers_[s].tricks;
        tricks = {};
        slow_.delay[ServerId{s}] = absl::Milliseconds(rng() % 2 == 0 ? 0 : rng() % 120);
        switch (rng() % 12) {
          case 0:
            tricks.status = absl::UnavailableError("killed");
            break;
          case 1:
            tricks.nan_of_expert = static_cast<int32_t>(rng() % kNumExperts);
            break;
          case 2:
            slow_.silent.push_back(ServerId{s});
            break;
        }
      }
      slow_.delay[ServerId{4}] = absl::Milliseconds(rng() % 40);
      slow_.always_looks = rng() % 2 == 0;
      slow_.order =
          rng() % 2 == 0 ? SlowTransport::Order::kOldestFirst : SlowTransport::Order::kNewestFirst;
      EXPECT_LT(run_on(), kTimeout) << "round " << round;
      hands_.advance(absl::Milliseconds(rng() % 400));
    }
    for (const HedgeOutcome outcome : reports_.hedges) ++outcomes[outcome];
  }
  for (const HedgeOutcome outcome : kHedgeOutcomes) EXPECT_GT(outcomes[outcome], 10);
}

}  // namespace
}  // namespace conclave
