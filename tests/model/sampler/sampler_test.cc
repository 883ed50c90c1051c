// What the sampler must keep:
//   - each parameter does what docs/sampling.md says, alone (here) and together
//   (sampler_random_test);
//   - ties go to the lower id; padding, -infinity and forbidden stop ids are never drawn;
//   - a draw depends on (seed, position) and the row, on nothing that happened before;
//   - a row that is not finite, or allows nothing, is INTERNAL.

#include "model/sampler/sampler.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>

namespace conclave {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

class SamplerTest : public testing::Test {
 protected:
  absl::StatusOr<int32_t> sample(const std::vector<float>& logits, int64_t position = 0) {
    const int32_t num_ids = num_ids_ > 0 ? num_ids_ : static_cast<int32_t>(logits.size());
    return sampler_.sample({.logits = logits,
                            .num_ids = num_ids,
                            .params = &params_,
                            .counts = &counts_,
                            .position = position,
                            .num_generated = num_generated_});
  }

  int32_t greedy(const std::vector<float>& logits) {
    params_.temperature = 0.f;
    return *sample(logits);
  }

  // Every id that comes up in many draws.
  std::set<int32_t> drawn(const std::vector<float>& logits) {
    std::set<int32_t> ids;
    for (int64_t position = 0; position < 3000; ++position) ids.insert(*sample(logits, position));
    return ids;
  }

  using Ids = std::set<int32_t>;

  SamplingParams params_;
  TokenCounts counts_;
  int32_t num_ids_ = 0;  // 0: all
  int32_t num_generated_ = 0;
  Sampler sampler_{64};
};

TEST_F(SamplerTest, GreedyTakesTheLargestAndTheLowerOfEquals) {
  EXPECT_EQ(greedy({1.f, 3.f, 2.f}), 1);
  EXPECT_EQ(greedy({1.f, 3.f, 3.f, 3.f}), 1);
  EXPECT_EQ(greedy({-5.f, -kInf, -4.f}), 2);
  EXPECT_EQ(greedy({-0.f, 0.f}), 0);
  EXPECT_EQ(greedy({-3e38f}), 0);
}

TEST_F(SamplerTest, PaddingIsNeverDrawnNorLookedAt) {
  num_ids_ = 2;
  EXPECT_EQ(greedy({1.f, 2.f, 9.f, kNaN}), 1);
  params_.temperature = 1.f;
  EXPECT_EQ(drawn({1.f, 1.f, 90.f, kInf}), (Ids{0, 1}));
  params_.logit_bias = {{3, 100.f}};
  params_.stop_ids = {3};
  params_.min_tokens = 1;
  params_.presence_penalty = -2.f;
  params_.repetition_penalty = 0.5f;
  counts_.generated[3] = 1;
  counts_.prompt[2] = 1;
  EXPECT_EQ(drawn({1.f, 1.f, 90.f, kInf}), (Ids{0, 1}));
}

TEST_F(SamplerTest, RepetitionDividesPositiveAndMultipliesNegativeOncePerId) {
  params_.repetition_penalty = 2.f;
  counts_.prompt = {{0, 5}};
  EXPECT_EQ(greedy({4.f, 2.1f}), 1);  // 4 -> 2, however often it stood there
  EXPECT_EQ(greedy({4.f, 1.9f}), 0);
  EXPECT_EQ(greedy({-1.f, -1.9f}), 1);  // -1 -> -2
  EXPECT_EQ(greedy({-1.f, -2.1f}), 0);
  counts_.generated = {{0, 3}};  // in both: still once
  EXPECT_EQ(greedy({4.f, 1.9f}), 0);
  EXPECT_EQ(greedy({4.f, 2.1f}), 1);
  counts_.prompt.clear();
  EXPECT_EQ(greedy({4.f, 1.9f}), 0);
  EXPECT_EQ(greedy({4.f, 2.1f}), 1);
}

TEST_F(SamplerTest, PresenceAndFrequencySeeGeneratedIdsOnly) {
  counts_.prompt = {{0, 100}};
  params_.presence_penalty = 2.f;
  params_.frequency_penalty = 2.f;
  EXPECT_EQ(greedy({1.f, 0.9f}), 0);

  counts_.generated = {{0, 3}};
  params_.frequency_penalty = 0.f;
  EXPECT_EQ(greedy({1.f, -0.9f}), 1);  // 1 - 2 once
  EXPECT_EQ(greedy({1.f, -1.1f}), 0);
  params_.presence_penalty = 0.f;
  params_.frequency_penalty = 1.f;
  EXPECT_EQ(greedy({1.f, -1.9f}), 1);  // 1 - 3 * 1
  EXPECT_EQ(greedy({1.f, -2.1f}), 0);
  params_.presence_penalty = 1.f;
  EXPECT_EQ(greedy({1.f, -2.9f}), 1);
  EXPECT_EQ(greedy({1.f, -3.1f}), 0);
}

TEST_F(SamplerTest, RepetitionComesBeforeTheSubtractions) {
  params_.repetition_penalty = 2.f;
  params_.presence_penalty = 1.f;
  counts_.generated = {{0, 1}};
  EXPECT_EQ(greedy({4.f, 0.9f}), 0);  // 4 / 2 - 1, not (4 - 1) / 2
  EXPECT_EQ(greedy({4.f, 1.1f}), 1);
}

TEST_F(SamplerTest, BiasIsAddedAfterThePenalties) {
  params_.logit_bias = {{1, 5.f}, {0, -1.f}};
  EXPECT_EQ(greedy({3.f, -2.9f}), 1);
  EXPECT_EQ(greedy({3.f, -3.1f}), 0);
  params_.repetition_penalty = 2.f;
  counts_.prompt = {{1, 1}};
  EXPECT_EQ(greedy({3.f, -1.6f}), 0);  // -1.6 * 2 + 5 = 1.8 < 2
  EXPECT_EQ(greedy({3.f, -1.4f}), 1);
}

TEST_F(SamplerTest, StopIdsAreImpossibleBeforeMinTokens) {
  params_.stop_ids = {1, 2};
  params_.min_tokens = 3;
  params_.logit_bias = {{1, 100.f}};
  num_generated_ = 2;
  EXPECT_EQ(greedy({0.f, 9.f, 8.f, -1.f}), 0);
  num_generated_ = 3;
  EXPECT_EQ(greedy({0.f, 9.f, 8.f, -1.f}), 1);
  params_.temperature = 1.f;
  num_generated_ = 0;
  EXPECT_EQ(drawn({0.f, 9.f, 8.f, 0.f}), (Ids{0, 3}));
}

TEST_F(SamplerTest, TemperatureSharpensAndFlattens) {
  const std::vector<float> logits = {1.f, 2.f, 0.f};
  for (const float tiny : {1e-3f, 1e-30f, 1e-45f}) {
    params_.temperature = tiny;
    EXPECT_EQ(drawn(logits), (Ids{1})) << tiny;
  }
  params_.temperature = 100.f;
  int32_t counts[3] = {};
  for (int64_t i = 0; i < 3000; ++i) ++counts[*sample(logits, i)];
  for (const int32_t count : counts) EXPECT_NEAR(count, 1000, 130);
}

TEST_F(SamplerTest, TinyTemperatureSharesBetweenEquals) {
  params_.temperature = 1e-30f;
  EXPECT_EQ(drawn({2.f, 1.f, 2.f}), (Ids{0, 2}));
}

TEST_F(SamplerTest, TopKKeepsTheBestAndTheLowerOfEquals) {
  const std::vector<float> logits = {1.f, 1.5f, 1.f, 1.f, 2.f};
  params_.top_k = 1;
  EXPECT_EQ(drawn(logits), (Ids{4}));
  params_.top_k = 3;
  EXPECT_EQ(drawn(logits), (Ids{0, 1, 4}));
  for (const int32_t all : {0, 5, 6, INT32_MAX}) {
    params_.top_k = all;
    EXPECT_EQ(drawn(logits), (Ids{0, 1, 2, 3, 4})) << all;
  }
}

TEST_F(SamplerTest, TopPKeepsTheFewestThatReachP) {
  const std::vector<float> halves = {2.f, 2.f, 2.f, 2.f};  // 1/4 each, exactly
  params_.top_p = 0.25f;
  EXPECT_EQ(drawn(halves), (Ids{0}));
  params_.top_p = 0.26f;
  EXPECT_EQ(drawn(halves), (Ids{0, 1}));
  params_.top_p = 0.5f;
  EXPECT_EQ(drawn(halves), (Ids{0, 1}));
  params_.top_p = 0.99f;
  EXPECT_EQ(drawn(halves), (Ids{0, 1, 2, 3}));
  params_.top_p = 1e-6f;
  EXPECT_EQ(drawn({0.f, 1.f, 0.5f}), (Ids{1}));
}

TEST_F(SamplerTest, TopPCountsWhatTopKLeft) {
  const std::vector<float> equal(10, 0.f);
  params_.top_k = 4;
  params_.top_p = 0.5f;  // of the four, not of the ten
  EXPECT_EQ(drawn(equal), (Ids{0, 1}));
}

TEST_F(SamplerTest, MinPKeepsWhatIsLikelyEnough) {
  const std::vector<float> logits = {0.f, -1.f, -2.f, 0.f};  // 1, 0.37, 0.14, 1 of the best
  params_.min_p = 0.2f;
  EXPECT_EQ(drawn(logits), (Ids{0, 1, 3}));
  params_.min_p = 0.4f;
  EXPECT_EQ(drawn(logits), (Ids{0, 3}));
  params_.min_p = 1.f;
  EXPECT_EQ(drawn(logits), (Ids{0, 3}));
  params_.min_p = 0.1f;
  EXPECT_EQ(drawn(logits), (Ids{0, 1, 2, 3}));
}

TEST_F(SamplerTest, MinPComesAfterTemperature) {
  params_.temperature = 2.f;
  params_.min_p = 0.5f;  // exp(-1 / 2) = 0.61, exp(-2 / 2) = 0.37
  EXPECT_EQ(drawn({0.f, -1.f, -2.f}), (Ids{0, 1}));
}

TEST_F(SamplerTest, ADrawDependsOnSeedAndPositionOnly) {
  std::vector<float> logits(64, 0.f);
  params_.seed = 42;
  std::vector<int32_t> first;
  for (int64_t position = 0; position < 50; ++position) {
    first.push_back(*sample(logits, position));
  }
  Sampler other(64);
  for (int64_t position = 49; position >= 0; --position) {
    const SampleArgs args{.logits = logits,
                          .num_ids = 64,
                          .params = &params_,
                          .position = position,
                          .num_generated = 7};
    EXPECT_EQ(*other.sample(args), first[static_cast<size_t>(position)]);
  }
  params_.seed = 43;
  int32_t num_same = 0;
  for (int64_t i = 0; i < 50; ++i) num_same += *sample(logits, i) == first[static_cast<size_t>(i)];
  EXPECT_LT(num_same, 10);
}

// Chi-square with 6 degrees of freedom: 22.46 is the 99.9 % point. Seeds are fixed, so it never
// flakes.
TEST_F(SamplerTest, FrequenciesFollowTheSoftmax) {
  const std::vector<float> logits = {0.f, 1.f, -1.f, 2.f, 0.5f, -2.f, 1.5f};
  constexpr int32_t kNumDraws = 50000;
  double total = 0.0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit) / 1.25);
  params_.temperature = 1.25f;
  for (const uint64_t seed : {1ull, 2ull, 0xFFFFFFFFFFFFull}) {
    params_.seed = seed;
    std::vector<int32_t> counts(logits.size());
    for (int64_t i = 0; i < kNumDraws; ++i) ++counts[static_cast<size_t>(*sample(logits, i))];
    double chi_square = 0.0;
    for (size_t id = 0; id < logits.size(); ++id) {
      const double expected = kNumDraws * std::exp(static_cast<double>(logits[id]) / 1.25) / total;
      chi_square += (counts[id] - expected) * (counts[id] - expected) / expected;
    }
    EXPECT_LT(chi_square, 22.46) << "seed " << seed;
  }
}

TEST_F(SamplerTest, RowsThatAreNotFiniteAreInternal) {
  for (const float temperature : {0.f, 1.f}) {
    params_.temperature = temperature;
    for (const float bad : {kNaN, kInf}) {
      for (size_t at : {0u, 2u}) {
        std::vector<float> logits = {1.f, 2.f, 3.f};
        logits[at] = bad;
        EXPECT_EQ(sample(logits).status().code(), absl::StatusCode::kInternal);
      }
    }
    EXPECT_EQ(sample({-kInf, -kInf}).status().code(), absl::StatusCode::kInternal);
  }
  EXPECT_EQ(std::string(sample({1.f, kNaN}).status().message()), "the logit of id 1 is nan");
}

TEST_F(SamplerTest, ALogitThatAPenaltyOverflowsIsInternal) {
  params_.repetition_penalty = 0.01f;
  counts_.prompt[1] = 1;
  const absl::Status status = sample({1.f, 3.5e36f}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(std::string(status.message()), "the adjusted logit of id 1 is inf");
}

TEST_F(SamplerTest, AForbiddenIdDoesNotHideItsNaN) {
  params_.stop_ids = {1};
  params_.min_tokens = 5;
  EXPECT_EQ(sample({1.f, kNaN}).status().code(), absl::StatusCode::kInternal);
}

TEST_F(SamplerTest, NothingPossibleIsInternal) {
  params_.stop_ids = {0, 1};
  params_.min_tokens = 5;
  EXPECT_EQ(sample({1.f, 2.f}).status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(*sample({1.f, 2.f, -kInf, -90.f}), 3);
}

TEST_F(SamplerTest, MinusInfinityIsNeverDrawn) {
  EXPECT_EQ(drawn({-kInf, 0.f, -kInf, 0.f}), (Ids{1, 3}));
  params_.top_k = 3;
  EXPECT_EQ(drawn({-kInf, 0.f, -kInf, 0.f}), (Ids{1, 3}));
  params_.top_p = 0.99f;
  EXPECT_EQ(drawn({-kInf, 0.f, -kInf, 0.f}), (Ids{1, 3}));
}

}  // namespace
}  // namespace conclave
