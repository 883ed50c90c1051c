// Random rows and random parameters: the sampler draws what the naive one draws, its logprobs are
// the naive log-softmax, and a large vocabulary changes nothing.

#include <gtest/gtest.h>

#include <random>

#include "model/sampler/sampler.h"
#include "tests/model/sampler/naive_sampler.h"

namespace conclave {
namespace {

using Rng = std::mt19937;

float uniform(Rng* rng, float low, float high) {
  return std::uniform_real_distribution<float>(low, high)(*rng);
}
int32_t pick(Rng* rng, int32_t low, int32_t high) {
  return std::uniform_int_distribution<int32_t>(low, high)(*rng);
}
bool coin(Rng* rng) { return pick(rng, 0, 1) == 1; }

// Half of the rows are coarse, so that ties are common.
std::vector<float> random_row(Rng* rng, int32_t num_cols) {
  const bool coarse = coin(rng);
  std::normal_distribution<float> normal(0.f, uniform(rng, 0.1f, 6.f));
  std::vector<float> row(static_cast<size_t>(num_cols));
  for (float& x : row) {
    x = coarse ? std::round(normal(*rng)) : normal(*rng);
    if (pick(rng, 0, 50) == 0) x = -std::numeric_limits<float>::infinity();
  }
  return row;
}

SamplingParams random_params(Rng* rng, int32_t num_cols) {
  SamplingParams p;
  p.temperature = pick(rng, 0, 9) == 0 ? 0.f : uniform(rng, 0.1f, 3.f);
  if (coin(rng)) p.top_k = pick(rng, 1, num_cols + 1);
  if (coin(rng)) p.top_p = uniform(rng, 0.01f, 1.f);
  if (coin(rng)) p.min_p = uniform(rng, 0.f, 0.3f);
  if (coin(rng)) p.repetition_penalty = uniform(rng, 0.5f, 2.f);
  if (coin(rng)) p.presence_penalty = uniform(rng, -2.f, 2.f);
  if (coin(rng)) p.frequency_penalty = uniform(rng, -2.f, 2.f);
  for (int32_t id = 0; id < num_cols; id += pick(rng, 1, 40)) {
    if (coin(rng)) p.logit_bias.push_back({id, uniform(rng, -5.f, 5.f)});
    if (coin(rng)) p.stop_ids.push_back(id);
  }
  p.min_tokens = pick(rng, 0, 3);
  p.seed = (*rng)();
  return p;
}

TokenCounts random_counts(Rng* rng, int32_t num_cols) {
  TokenCounts counts;
  for (int32_t i = 0; i < num_cols / 3; ++i) ++counts.prompt[pick(rng, 0, num_cols - 1)];
  for (int32_t i = 0; i < num_cols / 3; ++i) ++counts.generated[pick(rng, 0, num_cols - 1)];
  return counts;
}

class SamplerRandomTest : public testing::TestWithParam<int32_t> {};

TEST_P(SamplerRandomTest, DrawsWhatTheNaiveSamplerDraws) {
  const int32_t num_cols = GetParam();
  Rng rng(static_cast<uint32_t>(num_cols));
  Sampler sampler(num_cols);
  const int32_t num_cases = num_cols > 1000 ? 20 : 2000;
  for (int32_t i = 0; i < num_cases; ++i) {
    std::vector<float> row = random_row(&rng, num_cols);
    row[static_cast<size_t>(pick(&rng, 0, num_cols - 1))] = 1.f;
    const SamplingParams params = random_params(&rng, num_cols);
    ASSERT_TRUE(validate(params, num_cols).ok()) << validate(params, num_cols);
    const TokenCounts counts = random_counts(&rng, num_cols);
    const SampleArgs args{.logits = row,
                          .num_ids = pick(&rng, std::max(1, num_cols - 5), num_cols),
                          .params = &params,
                          .counts = &counts,
                          .position = pick(&rng, 0, 100000),
                          .num_generated = pick(&rng, 0, 4)};
    const auto possible = naive_adjust(args);
    if (*std::max_element(possible.begin(), possible.end()) < -1e30f) {
      EXPECT_EQ(sampler.sample(args).status().code(), absl::StatusCode::kInternal);
      continue;
    }
    ASSERT_EQ(*sampler.sample(args), naive_sample(args)) << "case " << i;
  }
}

TEST_P(SamplerRandomTest, LogprobsAreTheLogSoftmaxOfTheRawRow) {
  const int32_t num_cols = GetParam();
  Rng rng(static_cast<uint32_t>(num_cols) + 1);
  Sampler sampler(num_cols);
  for (int32_t i = 0; i < 20; ++i) {
    std::vector<float> row = random_row(&rng, num_cols);
    row[0] = 1.f;
    const int32_t num_ids = pick(&rng, std::max(1, num_cols - 5), num_cols);
    const int32_t num_best = pick(&rng, 0, kMaxLogprobs);
    const int32_t id = pick(&rng, 0, num_ids - 1);
    const Logprobs logprobs = sampler.logprobs(row, num_ids, id, num_best);

    double sum = 0.0;
    std::vector<int32_t> order;
    for (int32_t j = 0; j < num_ids; ++j) {
      sum += std::exp(static_cast<double>(row[static_cast<size_t>(j)]));
      order.push_back(j);
    }
    const auto naive = [&](int32_t j) {
      return static_cast<float>(static_cast<double>(row[static_cast<size_t>(j)]) - std::log(sum));
    };
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return row[static_cast<size_t>(a)] > row[static_cast<size_t>(b)];
    });
    EXPECT_EQ(logprobs.chosen.id, id);
    EXPECT_FLOAT_EQ(logprobs.chosen.logprob, naive(id));
    ASSERT_EQ(logprobs.best.size(), static_cast<size_t>(std::min(num_best, num_ids)));
    for (size_t j = 0; j < logprobs.best.size(); ++j) {
      EXPECT_EQ(logprobs.best[j].id, order[j]);
      EXPECT_FLOAT_EQ(logprobs.best[j].logprob, naive(order[j]));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, SamplerRandomTest, testing::Values(1, 2, 7, 65, 300, 20000));

TEST(Logprobs, IgnorePaddingAndParameters) {
  Sampler sampler(4);
  const std::vector<float> row = {0.f, 0.f, 50.f, 50.f};
  const Logprobs logprobs = sampler.logprobs(row, 2, 1, 5);
  EXPECT_FLOAT_EQ(logprobs.chosen.logprob, std::log(0.5f));
  ASSERT_EQ(logprobs.best.size(), 2u);
  EXPECT_EQ(logprobs.best[0].id, 0);
  EXPECT_EQ(logprobs.best[1].id, 1);
  EXPECT_TRUE(std::isinf(sampler.logprobs(row, 2, 3, 0).chosen.logprob));
}

}  // namespace
}  // namespace conclave
