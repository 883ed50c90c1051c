// A layer of six experts behind a loopback, whose gate lets a test choose the picks.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "common/check.h"
#include "kernels/reference/reference.h"
#include "router/expert_layer.h"
#include "tests/router/fake_expert_server.h"

namespace conclave {

inline constexpr int32_t kLayer = 1;
inline constexpr int32_t kNumExperts = 6;
inline constexpr int32_t kNumCols = 8;
inline constexpr int32_t kMaxTokens = 700;
inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Reports final : LegObserver {
  std::vector<LegReport> all;
  int num_moved = 0;
  std::vector<HedgeOutcome> hedges;

  void on_leg(const LegReport& report) override { all.push_back(report); }
  void on_move(std::string_view) override { ++num_moved; }
  void on_hedge(std::string_view, HedgeOutcome outcome) override { hedges.push_back(outcome); }
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
  static std::vector<float> rounded_row(const float* row, DType wire) {
    std::vector<float> heard(row, row + kNumCols);
    if (wire == DType::kF8E4M3) {
      std::vector<std::byte> packed(packed_row_bytes(wire, kNumCols));
      reference::pack_fp8_row(row, kNumCols, packed.data());
      reference::unpack_fp8_row(packed.data(), kNumCols, heard.data());
    } else {
      for (float& value : heard) value = rounded(value, wire);
    }
    return heard;
  }

  // The definition, with the weights that the gate chose.
  void expect_sums(Rows<const float> x, DType wire_out, DType wire_back) {
    for (int32_t t = 0; t < x.num_rows; ++t) {
      const std::vector<float> heard = rounded_row(x.row(t), wire_out);
      for (int32_t c = 0; c < kNumCols; ++c) {
        float sum = 0.f;
        for (int32_t slot = 2 * t; slot < 2 * t + 2; ++slot) {
          const float voice = static_cast<float>(step_.top_k.expert[slot] + 1);
          const float said = rounded(heard[static_cast<size_t>(c)] * voice, wire_back);
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
      EXPECT_THAT(std::string(step_.faults[i].status.message()), testing::HasSubstr(word));
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

}  // namespace conclave
