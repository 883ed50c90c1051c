// What the routed half of a layer must keep:
//   - out = sum over the picks, ascending, of weight * what the expert said of the row as rounded
//     for the wire, with the same bits under every placement and however legs are cut;
//   - a placement can be changed between steps, and every leg is reported once.
// What goes wrong is in expert_layer_fault_test.cc.

#include "tests/router/expert_layer_fixture.h"

namespace conclave {
namespace {

TEST_F(MoeLayerTest, SumsWeightedAnswersOfRoundedRows) {
  for (const DType wire_out : {DType::kF32, DType::kBF16, DType::kF8E4M3}) {
    for (const DType wire_back : {DType::kF32, DType::kBF16}) {
      const auto layer = make_layer(Placement::even(config_, 3), wire_out, wire_back);
      for (const int32_t num_tokens : {0, 1, 2, 33, 256, 1}) {
        const Matrix<float> x = random_rows(num_tokens, /*seed=*/11);
        ASSERT_TRUE(run(layer.get(), x.view()).ok());
        EXPECT_TRUE(step_.faults.empty());
        expect_sums(x.view(), wire_out, wire_back);
      }
    }
  }
}

TEST_F(MoeLayerTest, OnlyTypesThatTravelAreTaken) {
  const auto refused = [&](DType wire_out, DType wire_back) {
    const ExpertLayer::Options options{
        .wire_out = wire_out, .wire_back = wire_back, .max_tokens = kMaxTokens};
    return ExpertLayer::create(parts(), Placement::even(config_, 1), options).status();
  };
  EXPECT_TRUE(refused(DType::kF8E4M3, DType::kF32).ok());
  EXPECT_EQ(refused(DType::kF8E4M3, DType::kF8E4M3),
            absl::InvalidArgumentError("rows out as fp8 and back as fp8; f32, bf16 and fp8 go out, "
                                       "f32 and bf16 come back"));
  EXPECT_EQ(refused(DType::kF16, DType::kF32).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refused(DType::kBF16, DType::kI8).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(MoeLayerTest, EveryPlacementGivesTheSameBits) {
  const Matrix<float> x = random_rows(100, /*seed=*/2);
  for (int32_t num_servers = 1; num_servers <= kNumExperts; ++num_servers) {
    ASSERT_TRUE(run(make_layer(num_servers).get(), x.view()).ok());
    expect_sums(x.view(), DType::kBF16, DType::kBF16);
  }
  Placement upside_down(2, kNumExperts, 3);
  for (int32_t e = 0; e < kNumExperts; ++e) upside_down.add(kLayer, e, ServerId{5 - e});
  ASSERT_TRUE(run(make_layer(upside_down).get(), x.view()).ok());
  expect_sums(x.view(), DType::kBF16, DType::kBF16);
}

TEST_F(MoeLayerTest, TellsServersLayerVersionAndShape) {
  Placement placement(2, kNumExperts, /*version=*/77);
  for (int32_t e = 0; e < kNumExperts; ++e) placement.add(kLayer, e, ServerId{2});
  const Matrix<float> x = random_rows(3, /*seed=*/1);
  ASSERT_TRUE(run(make_layer(placement).get(), x.view()).ok());
  ASSERT_EQ(servers_[2].heard.size(), 1u);
  const LegRequest& leg = servers_[2].heard[0];
  EXPECT_EQ(leg.layer_idx, kLayer);
  EXPECT_EQ(leg.placement_version, 77);
  EXPECT_EQ(leg.num_cols, kNumCols);
  EXPECT_EQ(leg.pick_begin.size(), 4u);
  EXPECT_EQ(leg.pick_expert.size(), 6u);
  EXPECT_EQ(leg.rows.size(), 3u * kNumCols * sizeof(bf16));
}

TEST_F(MoeLayerTest, LargeStepsAreCutIntoLegs) {
  const Matrix<float> x = random_rows(kMaxTokens, /*seed=*/5);  // 1,400 picks for one server
  ASSERT_TRUE(run(make_layer(1).get(), x.view()).ok());
  EXPECT_EQ(servers_[0].heard.size(), 2u);
  expect_sums(x.view(), DType::kBF16, DType::kBF16);
}

TEST_F(MoeLayerTest, APlacementCanChangeBetweenSteps) {
  const auto layer = make_layer(1);
  const Matrix<float> x = random_rows(20, /*seed=*/4);
  ASSERT_TRUE(run(layer.get(), x.view()).ok());
  layer->set_placement(Placement::even(config_, 3));
  ASSERT_TRUE(run(layer.get(), x.view()).ok());
  EXPECT_FALSE(servers_[2].heard.empty());
  expect_sums(x.view(), DType::kBF16, DType::kBF16);
}

TEST_F(MoeLayerTest, EveryLegIsReportedOnce) {
  servers_[1].tricks.status = absl::UnavailableError("gone");
  ASSERT_TRUE(run(make_layer(3).get(), random_rows(20, /*seed=*/4).view()).ok());
  ASSERT_EQ(reports_.all.size(), 3u);
  int32_t num_picks = 0;
  for (const LegReport& report : reports_.all) {
    num_picks += report.num_picks;
    EXPECT_EQ(report.layer_idx, kLayer);
    EXPECT_EQ(report.bytes_out, static_cast<uint64_t>(report.num_rows) * kNumCols * 2);
    EXPECT_EQ(report.status.ok(), report.server != ServerId{1});
    EXPECT_EQ(report.bytes_back == 0, report.server == ServerId{1});
  }
  EXPECT_EQ(num_picks, 40);
}

TEST_F(MoeLayerTest, ABadGateIsSaidAtCreation) {
  config_.moe.gate.num_experts = kNumExperts + 1;  // the weight has kNumExperts rows
  const auto layer =
      ExpertLayer::create(parts(), Placement::even(config_, 1), {.max_tokens = kMaxTokens});
  EXPECT_TRUE(absl::IsInvalidArgument(layer.status())) << layer.status();
}

TEST_F(MoeLayerTest, ADenseLayerHasNoGate) {
  const auto layer = make_layer(1);
  const Matrix<float> x = random_rows(1, 1);
  EXPECT_DEATH(static_cast<void>(layer->begin(0, x.view(), &step_)), "gates_");
}

}  // namespace
}  // namespace conclave
