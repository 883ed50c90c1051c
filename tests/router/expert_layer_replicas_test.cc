// What a layer whose experts have several holders must keep when some of them fail:
//   - a leg that is lost, refused, or answered with numbers that are not finite goes to another
//     holder in the same step, and the sums have the same bits;
//   - a server that is lost is not asked again in that step, and last in the next ones;
//   - numbers that are not finite from every holder fail their token and nobody's standing;
//   - where no other holder is left, or retries are used up, tokens fail as ever;
//   - a server that takes far longer than it used to is given up long before the step's deadline,
//     but only where another can answer.

#include "tests/router/replica_fixture.h"

namespace conclave {
namespace {

TEST_F(ReplicaLayerTest, ALostLegGoesToAnotherHolder) {
  for (const auto code : {absl::StatusCode::kUnavailable, absl::StatusCode::kDataLoss,
                          absl::StatusCode::kDeadlineExceeded, absl::StatusCode::kNotFound,
                          absl::StatusCode::kResourceExhausted}) {
    reports_.num_moved = 0;
    const auto layer = make_layer(everywhere(3));
    servers_[1].tricks.status = absl::Status(code, "not here");
    expect_untroubled(layer.get());
    EXPECT_EQ(reports_.num_moved, 1);
  }
}

TEST_F(ReplicaLayerTest, TwoOfThreeMayBeLost) {
  servers_[0].tricks.status = servers_[2].tricks.status = absl::UnavailableError("killed");
  const auto layer = make_layer(everywhere(3));
  expect_untroubled(layer.get());
  EXPECT_GE(reports_.num_moved, 2);
  const size_t asked_before = servers_[0].heard.size();
  expect_untroubled(layer.get());
  EXPECT_EQ(servers_[0].heard.size(), asked_before) << "it was lost a moment ago";
}

TEST_F(ReplicaLayerTest, AServerThatIsBackIsAskedAgain) {
  ExpertLayer::Parts parts = this->parts();
  ManualClock hands;
  parts.clock = &hands;
  const auto layer = *ExpertLayer::create(parts, everywhere(2), {.max_tokens = kMaxTokens});
  servers_[1].tricks.status = absl::UnavailableError("killed");
  expect_untroubled(layer.get());
  servers_[1].tricks = {};
  const size_t asked_before = servers_[1].heard.size();
  expect_untroubled(layer.get());
  EXPECT_EQ(servers_[1].heard.size(), asked_before);
  hands.advance(ReplicaHealth::kFirstPause);
  expect_untroubled(layer.get());
  EXPECT_GT(servers_[1].heard.size(), asked_before);
}

TEST_F(ReplicaLayerTest, WhenAllAreLostTheTokensAreUnavailable) {
  for (int32_t i = 0; i < 3; ++i) servers_[i].tricks.status = absl::UnavailableError("killed");
  const auto layer = make_layer(everywhere(3));
  ASSERT_TRUE(run(layer.get(), random_rows(5, 1).view()).ok());
  ASSERT_GE(step_.faults.size(), 5u);
  expect_fault(0, step_.faults[0].token_idx, {"killed"}, absl::StatusCode::kUnavailable);
  for (const auto& server : servers_) {
    EXPECT_LE(server.heard.size(), 3u) << "one of the three first legs asked it twice";
  }
  for (int32_t i = 0; i < 3; ++i) servers_[i].tricks = {};
  expect_untroubled(layer.get());
}

TEST_F(ReplicaLayerTest, ExpertsWithOneHolderFailAlone) {
  Placement placement(2, kNumExperts, 1);
  for (int32_t e = 0; e < kNumExperts; ++e) {
    placement.add(kLayer, e, ServerId{0});
    if (e != 5) placement.add(kLayer, e, ServerId{1});
  }
  servers_[0].tricks.status = absl::UnavailableError("killed");
  const auto layer = make_layer(placement);
  Matrix<float> x(2, kNumCols);
  x.row(0)[0] = x.row(1)[5] = 9.f;
  x.row(0)[1] = x.row(1)[4] = 8.f;
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(run(layer.get(), x.view()).ok());
  ASSERT_EQ(step_.faults.size(), 1u);
  expect_fault(0, 1, {"killed"}, absl::StatusCode::kUnavailable);
  expect_sums(x.view().rows(0, 1), DType::kBF16, DType::kBF16);
}

// Both rows were on one leg.
TEST_F(ReplicaLayerTest, RowsThatHaveAnotherHolderGoThereAlone) {
  Placement placement(2, kNumExperts, 1);
  for (int32_t e = 0; e < kNumExperts; ++e) {
    placement.add(kLayer, e, ServerId{0});
    if (e != 5) placement.add(kLayer, e, ServerId{1}, /*draining=*/true);
  }
  servers_[0].tricks.status = absl::UnavailableError("killed");
  const auto layer = make_layer(placement);
  Matrix<float> x(3, kNumCols);
  x.row(0)[0] = x.row(1)[5] = x.row(2)[2] = 9.f;
  x.row(0)[1] = x.row(1)[4] = x.row(2)[3] = 8.f;
  ASSERT_TRUE(run(layer.get(), x.view()).ok());
  EXPECT_EQ(servers_[0].heard.size(), 1u);
  EXPECT_EQ(reports_.num_moved, 1);
  ASSERT_EQ(step_.faults.size(), 1u);
  expect_fault(0, 1, {"killed"}, absl::StatusCode::kUnavailable);
  Matrix<float> all = std::move(out_);
  for (const int32_t t : {0, 2}) {
    ASSERT_TRUE(run(layer.get(), x.view().rows(t, 1)).ok());
    expect_sums(x.view().rows(t, 1), DType::kBF16, DType::kBF16);
    EXPECT_EQ(std::vector<float>(all.row(t), all.row(t) + kNumCols),
              std::vector<float>(out_.row(0), out_.row(0) + kNumCols));
  }
}

// One token of the leg has another holder, but the leg stays as it is, with the answers it has.
TEST_F(ReplicaLayerTest, NumbersThatAreNotFiniteStayWhereOthersLackPartOfTheLeg) {
  Placement placement(2, kNumExperts, 1);
  for (int32_t e = 0; e < kNumExperts; ++e) {
    placement.add(kLayer, e, ServerId{0});
    if (e != 5) placement.add(kLayer, e, ServerId{1}, /*draining=*/true);
  }
  servers_[0].tricks.nan_of_expert = 2;
  const auto layer = make_layer(placement);
  Matrix<float> x(3, kNumCols);
  x.row(0)[0] = x.row(1)[5] = x.row(2)[2] = 9.f;
  x.row(0)[1] = x.row(1)[4] = x.row(2)[3] = 8.f;
  ASSERT_TRUE(run(layer.get(), x.view()).ok());
  ASSERT_EQ(step_.faults.size(), 1u);
  expect_fault(0, 2, {"expert 2", "not finite"});
  expect_sums(x.view().rows(0, 2), DType::kBF16, DType::kBF16);
}

TEST_F(ReplicaLayerTest, NumbersThatAreNotFiniteAreAskedOfAnother) {
  const auto layer = make_layer(everywhere(2));
  for (int expert = 0; expert < 4; ++expert) {
    servers_[0].tricks.nan_of_expert = expert;
    for (int i = 0; i < 3; ++i) expect_untroubled(layer.get());
  }
  EXPECT_GE(servers_[0].heard.size(), 3u) << "it is as good as the other";
  EXPECT_GE(reports_.num_moved, 1);
}

TEST_F(ReplicaLayerTest, NumbersThatAreFiniteNowhereFailTheirToken) {
  servers_[0].tricks.nan_of_expert = servers_[1].tricks.nan_of_expert = 2;
  const auto layer = make_layer(everywhere(2));
  Matrix<float> x(2, kNumCols);
  x.row(0)[0] = x.row(1)[2] = 9.f;
  x.row(0)[1] = x.row(1)[3] = 8.f;
  ASSERT_TRUE(run(layer.get(), x.view()).ok());
  ASSERT_EQ(step_.faults.size(), 1u);
  expect_fault(0, 1, {"layer 1", "expert 2", "not finite"});
  expect_sums(x.view().rows(0, 1), DType::kBF16, DType::kBF16);
}

// Two servers that are always full: without a limit every leg would be sent twice for ever.
TEST_F(ReplicaLayerTest, RetriesAreUsedUp) {
  servers_[0].tricks.status = servers_[1].tricks.status = absl::ResourceExhaustedError("full");
  const auto layer = make_layer(everywhere(2));
  const Matrix<float> x = random_rows(1, 1);
  const int num_steps = static_cast<int>(ReplicaHealth::kMostRetries) + 50;
  for (int i = 0; i < num_steps; ++i) ASSERT_TRUE(run(layer.get(), x.view()).ok());
  const size_t num_sent = servers_[0].heard.size() + servers_[1].heard.size();
  EXPECT_EQ(reports_.num_moved, static_cast<int>(ReplicaHealth::kMostRetries));
  EXPECT_EQ(num_sent, static_cast<size_t>(2 * num_steps + ReplicaHealth::kMostRetries));
}

// Without spare retries nobody is hedged.
TEST_F(SlowReplicaTest, IsGivenUpLongBeforeTheStepsDeadline) {
  const auto layer = slow_layer(everywhere(2));
  for (int i = 0; i < 20; ++i) expect_untroubled(layer.get());
  use_retries(layer.get(), static_cast<int>(ReplicaHealth::kRetriesNotForHedges) + 1);
  slow_.silent = {ServerId{1}};
  const absl::Time before = hands_.now();
  expect_untroubled(layer.get());
  EXPECT_EQ(hands_.now() - before, ReplicaHealth::kLeastPatience);
  expect_untroubled(layer.get());
  EXPECT_EQ(hands_.now() - before, ReplicaHealth::kLeastPatience) << "it was asked again at once";
}

// Servers 2 and 3 answer a while after patience with server 1 is over, and earn what it takes.
TEST_F(SlowReplicaTest, IsLookedAtAgainWhenThereWasNoRetry) {
  Placement placement(2, kNumExperts, 1);
  for (int32_t e = 0; e < kNumExperts; ++e) placement.add(kLayer, e, ServerId{1 + e / 2});
  for (int32_t e = 0; e < 2; ++e) placement.add(kLayer, e, ServerId{0}, /*draining=*/true);
  const auto layer = slow_layer(std::move(placement));
  Matrix<float> x(3, kNumCols);
  for (int32_t t = 0; t < 3; ++t) x.row(t)[2 * t] = x.row(t)[2 * t + 1] = 9.f;
  use_retries(layer.get(), static_cast<int>(ReplicaHealth::kMostRetries));
  for (int i = 0; i < 9; ++i) ASSERT_TRUE(run(layer.get(), x.view().rows(0, 1)).ok());
  ASSERT_FALSE(layer->health().has_retry());

  slow_.silent = {ServerId{1}};
  slow_.delay[ServerId{2}] = slow_.delay[ServerId{3}] = absl::Milliseconds(150);
  const absl::Time before = hands_.now();
  ASSERT_TRUE(run(layer.get(), x.view()).ok());
  EXPECT_EQ(hands_.now() - before, 2 * ReplicaHealth::kLeastPatience);
  EXPECT_TRUE(step_.faults.empty());
  expect_sums(x.view(), DType::kBF16, DType::kBF16);
}

// For the other expert of its leg there is another holder, and that does not help.
TEST_F(SlowReplicaTest, WhoIsSilentIsAskedForNothingThatOthersHold) {
  Placement placement(2, kNumExperts, 1);
  for (int32_t e = 0; e < kNumExperts; ++e) {
    placement.add(kLayer, e, ServerId{0});
    if (e > 0) placement.add(kLayer, e, ServerId{1}, /*draining=*/true);
  }
  const auto layer = slow_layer(std::move(placement));
  slow_.silent = {ServerId{0}};
  Matrix<float> x(2, kNumCols);
  x.row(0)[0] = x.row(1)[2] = 9.f;
  x.row(0)[1] = x.row(1)[3] = 8.f;
  ASSERT_TRUE(run(layer.get(), x.view()).ok());
  EXPECT_EQ(servers_[0].heard.size(), 1u);
  hands_.advance(kTimeout - absl::Milliseconds(1));  // longer than it is avoided
  reports_.num_moved = 0;
  ASSERT_FALSE(layer->health().is_avoided(ServerId{0}));
  ASSERT_TRUE(run(layer.get(), x.view().rows(1, 1)).ok());
  EXPECT_TRUE(step_.faults.empty());
  EXPECT_EQ(reports_.num_moved, 0) << "it took a retry to find that out";
}

TEST_F(SlowReplicaTest, IsWaitedForWhereNobodyElseCanAnswer) {
  Placement placement = Placement::even(config_, 2);
  placement.add(kLayer, 0, ServerId{1});  // one expert has two holders, five have one
  const auto layer = slow_layer(std::move(placement));
  for (int i = 0; i < 20; ++i) expect_untroubled(layer.get());
  slow_.silent = {ServerId{1}};
  const absl::Time before = hands_.now();
  ASSERT_TRUE(run(layer.get(), random_rows(40, 6).view()).ok());
  EXPECT_EQ(hands_.now() - before, kTimeout);
  ASSERT_FALSE(step_.faults.empty());
  expect_fault(0, step_.faults[0].token_idx, {"did not answer within 10s"},
               absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace conclave
