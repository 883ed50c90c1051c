// What a gate must keep:
//   - row t's picks are the rule's for x[t] times the weight, the same bits alone or among others;
//   - a row with a NaN or an infinity picks nothing, is counted, and leaves the others alone;
//   - `TopK` can be used again for a step of another size.

#include "router/gate.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "common/thread_pool.h"
#include "tests/router/gates/naive_gate.h"

namespace conclave {
namespace {

constexpr int32_t kNumExperts = 32;
constexpr int32_t kHidden = 24;
constexpr int32_t kK = 4;
constexpr int32_t kMaxTokens = 256;

class GateTest : public testing::TestWithParam<GateMethod> {
 protected:
  GateTest() {
    std::mt19937 rng(5);
    std::normal_distribution<float> normal(0.f, 0.5f);
    for (float& w : weight_) w = normal(rng);
    for (float& b : bias_) b = 0.1f * normal(rng);
    for (float& value : x_) value = normal(rng);
    config_.method = GetParam();
    gate_ = make_gate(inline_executor());
  }

  std::unique_ptr<Gate> make_gate(Executor* executor) {
    GateWeights weights;
    weights.weight = {.data = weight_.data(), .num_rows = kNumExperts, .num_cols = kHidden};
    if (GetParam() == GateMethod::kSigmoidNoAuxTc) weights.bias = bias_.data();
    return *Gate::create(config_, weights, kMaxTokens, executor);
  }

  Rows<const float> rows(int32_t first, int32_t count) const {
    return {x_.data() + first * kHidden, count, kHidden, kHidden};
  }

  GateConfig config_{.num_experts = kNumExperts,
                     .experts_per_token = kK,
                     .num_groups = 4,
                     .groups_per_token = 2,
                     .normalize = true,
                     .scale = 2.5f};
  std::vector<float> weight_ = std::vector<float>(kNumExperts * kHidden);
  std::vector<float> bias_ = std::vector<float>(kNumExperts);
  std::vector<float> x_ = std::vector<float>(kMaxTokens * kHidden);
  std::unique_ptr<Gate> gate_;
};

TEST_P(GateTest, ChoosesByTheProductOfRowAndWeight) {
  TopK top_k;
  gate_->choose(rows(0, kMaxTokens), &top_k);
  EXPECT_EQ(top_k.num_tokens, kMaxTokens);
  EXPECT_EQ(top_k.k, kK);
  EXPECT_EQ(top_k.num_faulty, 0);
  int32_t num_compared = 0;
  for (int32_t t = 0; t < kMaxTokens; ++t) {
    std::vector<float> logits(kNumExperts);
    for (int32_t e = 0; e < kNumExperts; ++e) {
      double sum = 0.0;
      for (int32_t d = 0; d < kHidden; ++d) {
        sum += static_cast<double>(x_[t * kHidden + d]) * weight_[e * kHidden + d];
      }
      logits[e] = static_cast<float>(sum);
    }
    const NaiveChoice naive = naive_choose(config_, logits.data(), bias_.data());
    if (naive.margin < 1e-5) continue;
    ++num_compared;
    for (int32_t i = 0; i < kK; ++i) {
      ASSERT_EQ(top_k.expert[t * kK + i], naive.expert[i]) << "token " << t;
      EXPECT_NEAR(top_k.weight[t * kK + i], naive.weight[i], 1e-5);
    }
  }
  EXPECT_GT(num_compared, kMaxTokens * 9 / 10);
}

TEST_P(GateTest, ARowHasTheSameBitsAloneOrAmongOthers) {
  TopK together;
  gate_->choose(rows(0, kMaxTokens), &together);
  TopK alone;
  for (int32_t t = 0; t < kMaxTokens; ++t) {
    gate_->choose(rows(t, 1), &alone);
    for (int32_t i = 0; i < kK; ++i) {
      EXPECT_EQ(alone.expert[i], together.expert[t * kK + i]);
      EXPECT_EQ(alone.weight[i], together.weight[t * kK + i]);
    }
  }
}

TEST_P(GateTest, ThreadsChangeNothing) {
  TopK inline_top_k;
  gate_->choose(rows(0, kMaxTokens), &inline_top_k);
  ThreadPool pool(3);
  TopK pool_top_k;
  make_gate(&pool)->choose(rows(0, kMaxTokens), &pool_top_k);
  EXPECT_EQ(pool_top_k.expert, inline_top_k.expert);
  EXPECT_EQ(pool_top_k.weight, inline_top_k.weight);
}

TEST_P(GateTest, FaultyRowsPickNothingAndHarmNobody) {
  TopK whole;
  gate_->choose(rows(0, 40), &whole);
  x_[3 * kHidden + 7] = std::numeric_limits<float>::quiet_NaN();
  x_[35 * kHidden] = std::numeric_limits<float>::infinity();
  for (int32_t d = 0; d < kHidden; ++d) x_[36 * kHidden + d] = 3e38f;  // overflows in the product
  TopK top_k;
  gate_->choose(rows(0, 40), &top_k);
  EXPECT_EQ(top_k.num_faulty, 3);
  for (int32_t t = 0; t < 40; ++t) {
    const bool faulty = t == 3 || t == 35 || t == 36;
    for (int32_t i = t * kK; i < (t + 1) * kK; ++i) {
      EXPECT_EQ(top_k.expert[i], faulty ? kNoExpert : whole.expert[i]) << "token " << t;
      EXPECT_EQ(top_k.weight[i], faulty ? 0.f : whole.weight[i]) << "token " << t;
    }
  }
  gate_->choose(rows(4, 1), &top_k);  // nothing is left over
  EXPECT_EQ(top_k.num_faulty, 0);
  EXPECT_EQ(top_k.expert.size(), static_cast<size_t>(kK));
}

TEST_P(GateTest, NoTokensPickNothing) {
  TopK top_k;
  gate_->choose(rows(0, 5), &top_k);
  gate_->choose(rows(0, 0), &top_k);
  EXPECT_EQ(top_k.num_tokens, 0);
  EXPECT_EQ(top_k.k, kK);
  EXPECT_TRUE(top_k.expert.empty());
  EXPECT_TRUE(top_k.weight.empty());
}

TEST_P(GateTest, RefusesAWeightOfAnotherShape) {
  GateWeights weights;
  weights.weight = {.data = weight_.data(), .num_rows = kNumExperts - 1, .num_cols = kHidden};
  weights.bias = bias_.data();
  const auto gate = Gate::create(config_, weights, 1, inline_executor());
  EXPECT_EQ(gate.status().code(), absl::StatusCode::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Methods, GateTest,
                         testing::Values(GateMethod::kSoftmaxGreedy,
                                         GateMethod::kSoftmaxGroupLimitedGreedy,
                                         GateMethod::kSigmoidNoAuxTc));

}  // namespace
}  // namespace conclave
