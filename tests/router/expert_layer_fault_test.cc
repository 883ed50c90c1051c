// What the routed half of a layer must keep when something goes wrong:
//   - what a server says is checked: its status is passed on, what may pass as UNAVAILABLE; a size
//     that is off is INTERNAL naming the server; a number that is not finite fails that token
//     alone, naming layer, expert and server;
//   - a row whose scores are not finite fails alone;
//   - an expert that nobody holds is UNAVAILABLE, naming expert and layer;
//   - a server that is silent costs one deadline, not one a layer nor one a placement, and is asked
//     again later;
//   - a step can be used again after anything.

#include "tests/router/expert_layer_fixture.h"
#include "tests/router/slow_transport.h"

namespace conclave {
namespace {

using testing::HasSubstr;

// Tokens that asked server 1 have its status; the others have their sums.
TEST_F(MoeLayerTest, AFailedLegFailsItsTokensAlone) {
  Matrix<float> x(3, kNumCols);
  x.row(0)[0] = x.row(2)[1] = 9.f;  // experts 0 to 2 are on server 0
  x.row(0)[1] = x.row(2)[2] = 8.f;
  x.row(1)[3] = 9.f;
  x.row(1)[4] = 8.f;
  servers_[1].tricks.status = absl::InternalError("server one is at its wits' end");
  const auto layer = make_layer(2);
  ASSERT_TRUE(run(layer.get(), x.view()).ok());
  ASSERT_EQ(step_.faults.size(), 1u);
  expect_fault(0, 1, {"wits' end", "layer 1"});
  expect_sums(x.view().rows(0, 1), DType::kBF16, DType::kBF16);

  servers_[1].tricks = {};
  ASSERT_TRUE(run(layer.get(), x.view()).ok()) << "the step is used again";
  EXPECT_TRUE(step_.faults.empty());
  expect_sums(x.view(), DType::kBF16, DType::kBF16);
}

// What another try may mend is said with one code, whatever the transport called it.
TEST_F(MoeLayerTest, PassingTroubleIsUnavailable) {
  const auto layer = make_layer(2);
  for (const auto code : {absl::StatusCode::kUnavailable, absl::StatusCode::kDeadlineExceeded,
                          absl::StatusCode::kResourceExhausted, absl::StatusCode::kDataLoss,
                          absl::StatusCode::kNotFound}) {
    servers_[1].tricks.status = absl::Status(code, "not now");
    ASSERT_TRUE(run(layer.get(), random_rows(20, /*seed=*/4).view()).ok());
    ASSERT_FALSE(step_.faults.empty());
    expect_fault(0, step_.faults[0].token_idx, {"not now"}, absl::StatusCode::kUnavailable);
  }
}

TEST_F(MoeLayerTest, AnAnswerOfTheWrongSizeIsInternalAndNamesTheServer) {
  for (const int extra : {-1, 1, 2 * kNumCols, -2 * kNumCols}) {
    servers_[1].tricks.num_extra_bytes = extra;
    ASSERT_TRUE(run(make_layer(2).get(), random_rows(20, /*seed=*/4).view()).ok());
    ASSERT_FALSE(step_.faults.empty());
    expect_fault(0, step_.faults[0].token_idx, {"server 1", "layer 1"});
  }
}

// Experts 4 and 5 are the two best of token 2 alone.
TEST_F(MoeLayerTest, ANaNFromAnExpertFailsItsTokenAlone) {
  Matrix<float> x(4, kNumCols);
  for (int32_t t = 0; t < 4; ++t) {
    x.row(t)[t == 2 ? 4 : 0] = 9.f;
    x.row(t)[t == 2 ? 5 : 1] = 8.f;
  }
  const auto layer = make_layer(3);
  ASSERT_TRUE(run(layer.get(), x.view()).ok());
  Matrix<float> healthy = out_;

  servers_[2].tricks.nan_of_expert = 4;
  ASSERT_TRUE(run(layer.get(), x.view()).ok());
  ASSERT_EQ(step_.faults.size(), 1u);
  expect_fault(0, 2, {"layer 1", "expert 4", "server 2"});
  for (const int32_t t : {0, 1, 3}) {
    EXPECT_EQ(std::vector<float>(out_.row(t), out_.row(t) + kNumCols),
              std::vector<float>(healthy.row(t), healthy.row(t) + kNumCols));
  }

  servers_[2].tricks = {};
  ASSERT_TRUE(run(layer.get(), x.view()).ok());
  EXPECT_TRUE(step_.faults.empty()) << "faults of the step before";
}

TEST_F(MoeLayerTest, ANaNInTheGateFailsItsRowAlone) {
  Matrix<float> x = random_rows(5, /*seed=*/8);
  x.row(3)[0] = kNaN;
  x.row(4)[7] = std::numeric_limits<float>::infinity();  // inf * 0 in every score
  ASSERT_TRUE(run(make_layer(3).get(), x.view()).ok());
  ASSERT_EQ(step_.faults.size(), 2u);
  expect_fault(0, 3, {"layer 1", "gate"});
  expect_fault(1, 4, {"layer 1", "gate"});
  expect_sums(x.view().rows(0, 3), DType::kBF16, DType::kBF16);
  for (int32_t c = 0; c < kNumCols; ++c) EXPECT_EQ(out_.row(3)[c], 0.f);
}

TEST_F(MoeLayerTest, AStepOfFaultyRowsAsksNobody) {
  Matrix<float> x(2, kNumCols);
  x.row(0)[0] = kNaN;
  x.row(1)[1] = kNaN;
  ASSERT_TRUE(run(make_layer(2).get(), x.view()).ok());
  EXPECT_EQ(step_.faults.size(), 2u);
  EXPECT_TRUE(servers_[0].heard.empty());
  EXPECT_TRUE(servers_[1].heard.empty());
}

// Finite in f32, beyond bf16: what comes back is not a number, so the row must fail and not pass.
TEST_F(MoeLayerTest, ARowTooLargeForTheWireFailsAlone) {
  Matrix<float> x = random_rows(2, /*seed=*/8);
  x.row(1)[7] = std::numeric_limits<float>::max();
  ASSERT_TRUE(run(make_layer(2).get(), x.view()).ok());
  ASSERT_FALSE(step_.faults.empty());
  for (const RowFault& fault : step_.faults) EXPECT_EQ(fault.token_idx, 1);
}

TEST_F(MoeLayerTest, AnExpertThatNobodyHoldsFailsThoseWhoPickIt) {
  Placement placement(2, kNumExperts, 1);
  for (int32_t e = 0; e < kNumExperts - 1; ++e) placement.add(kLayer, e, ServerId{0});
  Matrix<float> x(2, kNumCols);
  x.row(0)[0] = x.row(1)[5] = 3.f;
  ASSERT_TRUE(run(make_layer(placement).get(), x.view()).ok());
  ASSERT_EQ(step_.faults.size(), 1u);
  expect_fault(0, 1, {"expert 5 of layer 1"}, absl::StatusCode::kUnavailable);
  expect_sums(x.view().rows(0, 1), DType::kBF16, DType::kBF16);
  ASSERT_EQ(servers_[0].heard.size(), 1u);
  EXPECT_EQ(servers_[0].heard[0].pick_begin.size(), 2u) << "a row without hope was sent";
}

TEST_F(MoeLayerTest, AServerThatIsNotThereIsUnavailable) {
  Placement placement(2, kNumExperts, 1);
  for (int32_t e = 0; e < kNumExperts; ++e) placement.add(kLayer, e, ServerId{40 + e % 2});
  ASSERT_TRUE(run(make_layer(placement).get(), random_rows(3, 1).view()).ok());
  ASSERT_GE(step_.faults.size(), 3u);
  expect_fault(0, step_.faults[0].token_idx, {"server 4"}, absl::StatusCode::kUnavailable);
}

// --- silent servers

class SilentServerTest : public MoeLayerTest {
 protected:
  SilentServerTest() {
    ExpertLayer::Parts silent_parts = parts();
    silent_parts.transport = &silent_;
    silent_parts.clock = &hands_;
    auto layer = ExpertLayer::create(silent_parts, Placement::even(config_, 2),
                                     {.max_tokens = kMaxTokens, .leg_timeout = kTimeout});
    CHECK(layer.ok());
    layer_ = *std::move(layer);
    silent_.silent = {ServerId{0}, ServerId{1}};
  }

  size_t num_heard() const { return servers_[0].heard.size() + servers_[1].heard.size(); }

  static constexpr absl::Duration kTimeout = absl::Seconds(2);
  ManualClock hands_;
  SlowTransport silent_{&transport_, &hands_};
  std::unique_ptr<ExpertLayer> layer_;
};

TEST_F(SilentServerTest, CostsOneDeadline) {
  const Matrix<float> x = random_rows(20, /*seed=*/4);
  const absl::Time start = hands_.now();
  ASSERT_TRUE(run(layer_.get(), x.view()).ok());
  EXPECT_EQ(hands_.now() - start, kTimeout);
  ASSERT_FALSE(step_.faults.empty());
  expect_fault(0, step_.faults[0].token_idx, {"did not answer within 2s"},
               absl::StatusCode::kUnavailable);
  ASSERT_EQ(num_heard(), 2u);

  ASSERT_TRUE(run(layer_.get(), x.view()).ok());
  EXPECT_EQ(hands_.now() - start, kTimeout) << "the next layer waited, too";
  EXPECT_EQ(num_heard(), 2u);
  expect_fault(0, step_.faults[0].token_idx, {"let a deadline pass"},
               absl::StatusCode::kUnavailable);

  hands_.advance(kTimeout);
  ASSERT_TRUE(run(layer_.get(), x.view()).ok());
  EXPECT_EQ(num_heard(), 4u) << "it is never asked again";
}

// While experts move there is a new placement every second.
TEST_F(SilentServerTest, IsNotAskedAgainForANewPlacement) {
  const Matrix<float> x = random_rows(20, /*seed=*/4);
  ASSERT_TRUE(run(layer_.get(), x.view()).ok());
  layer_->set_placement(Placement::even(config_, 2));
  ASSERT_TRUE(run(layer_.get(), x.view()).ok());
  EXPECT_EQ(num_heard(), 2u);
}

TEST_F(SilentServerTest, IsSomebodyElseAfterAPlacementWithoutIt) {
  const Matrix<float> x = random_rows(20, /*seed=*/4);
  ASSERT_TRUE(run(layer_.get(), x.view()).ok());
  layer_->set_placement(Placement::even(config_, 1));
  layer_->set_placement(Placement::even(config_, 2));
  ASSERT_TRUE(run(layer_.get(), x.view()).ok());
  EXPECT_EQ(servers_[0].heard.size(), 1u) << "it was there all the time";
  EXPECT_EQ(servers_[1].heard.size(), 2u);
}

}  // namespace
}  // namespace conclave
