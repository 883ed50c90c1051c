// Which late legs are waited for as if there were no hedges:
//   - those whose picks others cannot all take, and do well;
//   - all, while it is not known how long their server takes, or retries are few;
//   - those that were away for long, but that nobody has waited for yet.

#include "tests/router/hedge_fixture.h"

namespace conclave {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST_F(HedgeTest, NobodyWhoseTimesAreNotKnown) {
  layer_ = slow_layer(main_and_spares(1));
  slow_.delay[kMain] = absl::Milliseconds(200);
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(run_on(), absl::Milliseconds(200));
    EXPECT_THAT(reports_.hedges, IsEmpty());
  }
  slow_.delay[kMain] = absl::Milliseconds(700);
  EXPECT_EQ(run_on(), 3 * absl::Milliseconds(200));
  EXPECT_THAT(reports_.hedges, ElementsAre(HedgeOutcome::kWon));
}

// The step computed something else for so long; on some lines nothing moves meanwhile.
TEST_F(HedgeTest, NobodyWhoWasNotWaitedFor) {
  use(main_and_spares(1));
  const Matrix<float> x = random_rows(40, /*seed=*/6);
  out_ = Matrix<float>(40, kNumCols);
  slow_.delay[kMain] = absl::Seconds(1) + kDelay / 2;
  ASSERT_TRUE(layer_->begin(kLayer, x.view(), &step_).ok());
  hands_.advance(absl::Seconds(1));
  ASSERT_TRUE(layer_->finish(&step_, out_.view()).ok());
  expect_sums(x.view(), DType::kBF16, DType::kBF16);
  EXPECT_EQ(slow_.num_sent, 1);

  slow_.silent = {kMain};
  ASSERT_TRUE(layer_->begin(kLayer, x.view(), &step_).ok());
  hands_.advance(absl::Seconds(1));
  const absl::Time before = hands_.now();
  ASSERT_TRUE(layer_->finish(&step_, out_.view()).ok());
  EXPECT_EQ(hands_.now() - before, kDelay);
  EXPECT_THAT(reports_.hedges, ElementsAre(HedgeOutcome::kWon));
}

TEST_F(HedgeTest, NobodyWhoIsTheOnlyHolderOfOneExpert) {
  Placement placement(2, kNumExperts, 1);
  for (int32_t e = 0; e < kNumExperts; ++e) {
    placement.add(kLayer, e, kMain);
    if (e > 0) placement.add(kLayer, e, kSpare, /*draining=*/true);
  }
  use(std::move(placement));
  slow_.delay[kMain] = absl::Seconds(1);
  EXPECT_EQ(run_on(), absl::Seconds(1));
  EXPECT_EQ(slow_.num_sent, 1);
}

TEST_F(HedgeTest, NobodyByAServerThatIsAvoided) {
  use(everywhere(2));
  servers_[0].tricks.status = absl::UnavailableError("killed");
  EXPECT_EQ(run_on(), absl::ZeroDuration());
  ASSERT_TRUE(is_avoided(ServerId{0}));
  servers_[0].tricks = {};
  slow_.delay[ServerId{1}] = absl::Milliseconds(90);
  EXPECT_EQ(run_on(), absl::Milliseconds(90));
  EXPECT_THAT(reports_.hedges, IsEmpty());
}

TEST_F(HedgeTest, NobodyByAServerThatWasLostInTheStep) {
  Placement placement(2, kNumExperts, 1);
  for (int32_t e = 0; e < kNumExperts; ++e) {
    placement.add(kLayer, e, e < 3 ? kMain : kSpare);
    placement.add(kLayer, e, e < 3 ? kSpare : kOther, /*draining=*/true);
  }
  use(std::move(placement));
  tricks(kSpare).status = absl::ResourceExhaustedError("full");
  slow_.delay[kMain] = absl::Milliseconds(90);
  EXPECT_EQ(run_on(), absl::Milliseconds(90));
  EXPECT_FALSE(is_avoided(kSpare));
  EXPECT_THAT(reports_.hedges, IsEmpty());
}

// Half of the retries are kept for servers that fail.
TEST_F(HedgeTest, NobodyWhenSpareRetriesAreUsedUp) {
  use(main_and_spares(1));
  slow_.silent = {kMain};
  int num_hedges = 0;
  for (; run_on() == kDelay; ++num_hedges) hands_.advance(ReplicaHealth::kLongestPause);
  const double spare = ReplicaHealth::kMostRetries - ReplicaHealth::kRetriesNotForHedges;
  EXPECT_GE(num_hedges, static_cast<int>(spare));
  EXPECT_LE(num_hedges, static_cast<int>(spare / (1 - ReplicaHealth::kRetriesPerAnswer)) + 1);
  EXPECT_EQ(reports_.num_moved, 1) << "the next one was waited for, and moved";
  EXPECT_TRUE(layer_->health().has_retry());
}

}  // namespace
}  // namespace conclave
