// What the routed half of a layer must keep:
//   - out = sum over the picks, ascending, of weight * what the expert said of the row as rounded
//   for
//     the wire, with the same bits under every placement and however legs are cut;
//   - what a server says is checked: its status is passed on, a size that is off is INTERNAL naming
//   the
//     server, a number that is not finite fails that token alone, naming layer, expert and server;
//   - a row whose scores are not finite fails alone;
//   - an expert that nobody holds is UNAVAILABLE, naming expert and layer;
//   - a step can be used again after anything.

#include "router/expert_layer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "tests/router/fake_expert_server.h"

namespace conclave {
namespace {

using testing::HasSubstr;

constexpr int32_t kLayer = 1;
constexpr int32_t kNumExperts = 6;
constexpr int32_t kNumCols = 8;
constexpr int32_t kMaxTokens = 700;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Reports final : LegObserver {
  std::vector<LegReport> all;
  void on_leg(const LegReport& report) override { all.push_back(report); }
};

// Layer 0 is dense, layer 1 has experts. The gate's weight is the unit matrix, so that column e of
// a row is the score of expert e.
class MoeLayerTest : public testing::Test {
 protected:
  MoeLayerTest() : gate_weight_(kNumExperts, kNumCols) {
    for (int32_t e = 0; e < kNumExperts; ++e) gate_weight_.row(e)[e] = 1.f;
    config_.num_layers = 2;
    config_.hidden_dim = kNumCols;
    config_.moe.gate = {.num_experts = kNumExperts, .experts_per_token = 2};
    config_.moe.first_moe_layer = 1;
    trunk_.layers.resize(2);
    trunk_.layers[kLayer].is_moe = true;
    trunk_.layers[kLayer].gate.weight = {
        .data = gate_weight_.row(0), .num_rows = kNumExperts, .num_cols = kNumCols};
    for (int32_t i = 0; i < kNumExperts; ++i) transport_.add_server(ServerId{i}, &servers_[i]);
  }

  ExpertLayer::Parts parts() {
    return {.config = &config_,
            .gates = gate_weights(trunk_),
            .transport = &transport_,
            .executor = inline_executor(),
            .clock = &clock_,
            .observer = &reports_};
  }

  std::unique_ptr<ExpertLayer> make_layer(Placement placement, DType wire_out = DType::kBF16,
                                          DType wire_back = DType::kBF16) {
    auto layer = ExpertLayer::create(
        parts(), std::move(placement),
        {.wire_out = wire_out, .wire_back = wire_back, .max_tokens = kMaxTokens});
    CHECK(layer.ok());
    return *std::move(layer);
  }
  std::unique_ptr<ExpertLayer> make_layer(int32_t num_servers) {
    return make_layer(Placement::even(config_, num_servers));
  }

  // Runs the layer; `out_` has the result.
  absl::Status run(ExpertLayer* layer, Rows<const float> x) {
    out_ = Matrix<float>(x.num_rows, kNumCols);
    const absl::Status begun = layer->begin(kLayer, x, &step_);
    return begun.ok() ? layer->finish(&step_, out_.view()) : begun;
  }

  static Matrix<float> random_rows(int32_t num_rows, uint32_t seed) {
    std::mt19937 rng(seed);
    std::normal_distribution<float> normal;
    Matrix<float> x(num_rows, kNumCols);
    for (int32_t t = 0; t < num_rows; ++t) {
      for (int32_t c = 0; c < kNumCols; ++c) x.row(t)[c] = normal(rng);
    }
    return x;
  }

  static float rounded(float value, DType wire) {
    return wire == DType::kF32 ? value : to_f32(to_bf16(value));
  }

  // The definition, with the weights that the gate chose.
  void expect_sums(Rows<const float> x, DType wire_out, DType wire_back) {
    for (int32_t t = 0; t < x.num_rows; ++t) {
      for (int32_t c = 0; c < kNumCols; ++c) {
        float sum = 0.f;
        for (int32_t slot = 2 * t; slot < 2 * t + 2; ++slot) {
          const float voice = static_cast<float>(step_.top_k.expert[slot] + 1);
          const float said = rounded(rounded(x.row(t)[c], wire_out) * voice, wire_back);
          const float weighed = step_.top_k.weight[slot] * said;
          sum = sum + weighed;
        }
        ASSERT_EQ(std::bit_cast<uint32_t>(out_.row(t)[c]), std::bit_cast<uint32_t>(sum))
            << "token " << t << " column " << c;
      }
    }
  }

  void expect_fault(size_t i, int32_t token_idx, const std::vector<std::string>& words,
                    absl::StatusCode code = absl::StatusCode::kInternal) {
    ASSERT_LT(i, step_.faults.size());
    EXPECT_EQ(step_.faults[i].token_idx, token_idx);
    EXPECT_EQ(step_.faults[i].status.code(), code);
    for (const std::string& word : words) {
      EXPECT_THAT(std::string(step_.faults[i].status.message()), HasSubstr(word));
    }
  }

  ModelConfig config_;
  Matrix<float> gate_weight_;
  TrunkWeights trunk_;
  FakeExpertServer servers_[kNumExperts];
  LoopbackTransport transport_;
  const SystemClock clock_;
  Reports reports_;
  ExpertStep step_;
  Matrix<float> out_;
};

TEST_F(MoeLayerTest, SumsWeightedAnswersOfRoundedRows) {
  for (const DType wire_out : {DType::kF32, DType::kBF16}) {
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
