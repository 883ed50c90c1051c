// What every rule must keep:
//   - K different experts a row, ascending, out of the kept groups, ties to the lower index;
//   - the bias moves the choice and never a weight;
//   - normalised weights sum to the scale;
//   - the choice and weights of the makers' formulas in double.

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "common/rows.h"
#include "router/gate.h"
#include "tests/router/gates/naive_gate.h"

namespace conclave {
namespace {

using Ids = std::vector<int32_t>;

struct Choice {
  Ids expert;
  std::vector<float> weight;
};

Choice choose_scores(const GateRule& rule, const GateConfig& config,
                     const std::vector<float>& scores) {
  const auto k = static_cast<size_t>(config.experts_per_token);
  Choice choice{Ids(k), std::vector<float>(k)};
  rule.choose(scores.data(), choice.expert.data(), choice.weight.data());
  return choice;
}

Choice choose(const GateConfig& config, std::vector<float> logits,
              const std::vector<float>& bias = {}) {
  auto rule = make_gate_rule(config, bias.empty() ? nullptr : bias.data());
  EXPECT_TRUE(rule.ok()) << rule.status();
  (*rule)->score({logits.data(), 1, config.num_experts, config.num_experts});
  return choose_scores(**rule, config, logits);
}

constexpr GateMethod kGreedy = GateMethod::kSoftmaxGreedy;
constexpr GateMethod kGroups = GateMethod::kSoftmaxGroupLimitedGreedy;
constexpr GateMethod kNoAux = GateMethod::kSigmoidNoAuxTc;

TEST(SoftmaxGreedy, TakesTheLargestInAscendingId) {
  const GateConfig config{.method = kGreedy, .num_experts = 5, .experts_per_token = 2};
  EXPECT_EQ(choose(config, {0.f, 3.f, 1.f, 2.f, -9.f}).expert, (Ids{1, 3}));
  EXPECT_EQ(choose(config, {2.f, 0.f, 0.f, 0.f, 3.f}).expert, (Ids{0, 4}));
}

TEST(SoftmaxGreedy, TiesGoToTheLowerIndex) {
  const GateConfig config{.method = kGreedy, .num_experts = 5, .experts_per_token = 3};
  EXPECT_EQ(choose(config, {1.f, 1.f, 1.f, 1.f, 1.f}).expert, (Ids{0, 1, 2}));
  EXPECT_EQ(choose(config, {0.f, 1.f, 1.f, 1.f, 5.f}).expert, (Ids{1, 2, 4}));
}

TEST(SoftmaxGreedy, WeighsTheProbabilitiesAsTheyAre) {
  GateConfig config{.method = kGreedy, .num_experts = 4, .experts_per_token = 2};
  const std::vector<float> logits = {std::log(4.f), std::log(3.f), std::log(2.f), 0.f};
  const Choice raw = choose(config, logits);
  EXPECT_FLOAT_EQ(raw.weight[0], 0.4f);
  EXPECT_FLOAT_EQ(raw.weight[1], 0.3f);
  config.scale = 16.f;
  EXPECT_FLOAT_EQ(choose(config, logits).weight[1], 4.8f);
  config.normalize = true;
  config.scale = 1.f;
  EXPECT_FLOAT_EQ(choose(config, logits).weight[0], 4.f / 7.f);
}

TEST(SoftmaxGreedy, LooksAtNoGroups) {
  const GateConfig config{.method = kGreedy,
                          .num_experts = 4,
                          .experts_per_token = 2,
                          .num_groups = 2,
                          .groups_per_token = 1};
  EXPECT_EQ(choose(config, {5.f, 0.f, 5.f, 0.f}).expert, (Ids{0, 2}));
}

TEST(GroupLimitedGreedy, KeepsTheGroupsWithTheBestExperts) {
  const GateConfig config{.method = kGroups,
                          .num_experts = 8,
                          .experts_per_token = 3,
                          .num_groups = 4,
                          .groups_per_token = 2};
  // Groups by their best: 3 (9), 1 (8), 0 (7). Expert 0 is third best of all, its group is out.
  EXPECT_EQ(choose(config, {7.f, 6.f, 8.f, 0.f, 1.f, 1.f, 9.f, -5.f}).expert, (Ids{2, 3, 6}));
}

TEST(GroupLimitedGreedy, TiesGoToTheLowerGroupAndExpert) {
  const GateConfig config{.method = kGroups,
                          .num_experts = 8,
                          .experts_per_token = 3,
                          .num_groups = 4,
                          .groups_per_token = 2};
  EXPECT_EQ(choose(config, std::vector<float>(8, 0.f)).expert, (Ids{0, 1, 2}));
  EXPECT_EQ(choose(config, {0.f, 0.f, 1.f, 0.f, 0.f, 1.f, 0.f, 1.f}).expert, (Ids{2, 3, 5}));
}

TEST(GroupLimitedGreedy, StaysInItsGroupsWhenProbabilitiesVanish) {
  const GateConfig config{.method = kGroups,
                          .num_experts = 8,
                          .experts_per_token = 3,
                          .num_groups = 4,
                          .groups_per_token = 2};
  const Choice choice =
      choose(config, {-500.f, -500.f, -500.f, -500.f, 0.f, -500.f, -500.f, -400.f});
  EXPECT_EQ(choice.expert, (Ids{0, 1, 4}));  // group 2, then 0 as the lowest of equals
  EXPECT_EQ(choice.weight, (std::vector<float>{0.f, 0.f, 1.f}));
}

GateConfig noaux(int32_t experts_per_token) {
  return {.method = kNoAux,
          .num_experts = 8,
          .experts_per_token = experts_per_token,
          .num_groups = 4,
          .groups_per_token = 2,
          .normalize = true,
          .scale = 2.5f};
}

TEST(SigmoidNoAuxTc, GroupsCountTheirTwoBest) {
  const std::vector<float> bias(8, 0.f);
  // Best single expert is 0, but groups 1 and 3 have the better pairs.
  const Choice choice = choose(noaux(2), {3.f, -9.f, 2.f, 2.f, 0.f, 0.f, 1.f, 2.5f}, bias);
  EXPECT_EQ(choice.expert, (Ids{2, 7}));
}

TEST(SigmoidNoAuxTc, TiesGoToTheLowerGroupAndExpert) {
  const std::vector<float> bias(8, 0.f);
  EXPECT_EQ(choose(noaux(3), std::vector<float>(8, 1.f), bias).expert, (Ids{0, 1, 2}));
  EXPECT_EQ(choose(noaux(3), {0.f, 0.f, 1.f, 1.f, 1.f, 1.f, 1.f, 1.f}, bias).expert,
            (Ids{2, 3, 4}));
}

TEST(SigmoidNoAuxTc, ABiasForcesTheChoiceAndNotTheWeight) {
  GateConfig config = noaux(2);
  config.normalize = false;
  config.scale = 1.f;
  std::vector<float> bias(8, 0.f);
  bias[5] = 10.f;
  const Choice choice = choose(config, {0.f, 1.f, 2.f, 3.f, -1.f, -2.f, 0.f, 0.f}, bias);
  EXPECT_EQ(choice.expert, (Ids{3, 5}));
  EXPECT_FLOAT_EQ(choice.weight[0], 1.f / (1.f + std::exp(-3.f)));
  EXPECT_FLOAT_EQ(choice.weight[1], 1.f / (1.f + std::exp(2.f)));
}

TEST(SigmoidNoAuxTc, NegativeChoiceScoresStayInTheirGroups) {
  // All choice scores of the kept groups but one are negative; a mask of 0 would let others in.
  const std::vector<float> bias = {-5.f, -5.f, 4.f, -3.f, -3.f, 0.f, -6.f, -6.f};
  const Choice choice = choose(noaux(4), std::vector<float>(8, 0.f), bias);
  EXPECT_EQ(choice.expert, (Ids{2, 3, 4, 5}));
}

TEST(SigmoidNoAuxTc, EqualScoresWithDifferentBiasesWeighTheSame) {
  const std::vector<float> bias = {0.1f, 0.2f, 0.3f, 0.4f, 0.5f, 0.6f, 0.7f, 0.8f};
  const Choice choice = choose(noaux(4), std::vector<float>(8, 0.f), bias);
  EXPECT_EQ(choice.expert, (Ids{4, 5, 6, 7}));
  for (const float weight : choice.weight) EXPECT_FLOAT_EQ(weight, 2.5f / 4.f);
}

TEST(SigmoidNoAuxTc, VanishingScoresWeighZeroInsteadOfNaN) {
  const std::vector<float> bias(8, 1.f);
  const Choice choice = choose(noaux(2), std::vector<float>(8, -1000.f), bias);
  EXPECT_EQ(choice.expert, (Ids{0, 1}));
  for (const float weight : choice.weight) EXPECT_EQ(weight, 0.f);
}

struct Case {
  const char* name;
  GateConfig config;
};

class EveryRule : public testing::TestWithParam<Case> {};

TEST_P(EveryRule, ChoosesWhatTheFormulasSay) {
  const GateConfig config = GetParam().config;
  std::mt19937 rng(11);
  std::normal_distribution<float> normal(0.f, 2.f);
  int32_t num_compared = 0;
  for (int32_t i = 0; i < 1000; ++i) {
    std::vector<float> logits(static_cast<size_t>(config.num_experts));
    std::vector<float> bias(logits.size());
    for (float& x : logits) x = normal(rng);
    for (float& x : bias) x = 0.2f * normal(rng);
    const NaiveChoice naive = naive_choose(config, logits.data(), bias.data());
    if (naive.margin < 1e-6) continue;  // f32 cannot tell
    ++num_compared;
    const Choice choice = choose(config, logits, bias);
    ASSERT_EQ(choice.expert, naive.expert) << "case " << i;
    double sum = 0.0;
    for (size_t j = 0; j < naive.weight.size(); ++j) {
      EXPECT_NEAR(choice.weight[j], naive.weight[j], 2e-6 * naive.weight[j] + 1e-9);
      sum += static_cast<double>(choice.weight[j]);
    }
    if (config.normalize) {
      EXPECT_NEAR(sum, config.scale, 1e-6 * static_cast<double>(config.scale));
    }
  }
  EXPECT_GT(num_compared, 900);
}

// Scores that repeat: f32 and double order them alike, so the naive rule decides every tie.
TEST_P(EveryRule, BreaksTiesAsAStableSortDoes) {
  const GateConfig config = GetParam().config;
  std::mt19937 rng(12);
  std::uniform_int_distribution<int32_t> few(0, 3);
  for (int32_t i = 0; i < 1000; ++i) {
    std::vector<float> logits(static_cast<size_t>(config.num_experts), 0.f);
    std::vector<float> bias(logits.size(), 0.f);
    for (float& x : bias) x = 0.25f * static_cast<float>(few(rng));  // with sigmoid(0): exact
    if (config.method != kNoAux) {
      // Whole numbers apart stay apart, equal ones stay equal.
      for (float& x : logits) x = static_cast<float>(few(rng));
    }
    const NaiveChoice naive = naive_choose(config, logits.data(), bias.data());
    const Choice choice = choose(config, logits, bias);
    ASSERT_EQ(choice.expert, naive.expert) << "case " << i;
    const std::set<int32_t> different(choice.expert.begin(), choice.expert.end());
    EXPECT_EQ(different.size(), choice.expert.size());
  }
}

GateConfig sized(GateMethod method, int32_t experts, int32_t k, int32_t groups, int32_t kept) {
  return {.method = method,
          .num_experts = experts,
          .experts_per_token = k,
          .num_groups = groups,
          .groups_per_token = kept,
          .normalize = method == kNoAux,
          .scale = method == kNoAux ? 2.5f : 16.f};
}

INSTANTIATE_TEST_SUITE_P(Shapes, EveryRule,
                         testing::Values(Case{"greedy_64", sized(kGreedy, 64, 6, 1, 1)},
                                         Case{"greedy_one_of_one", sized(kGreedy, 1, 1, 1, 1)},
                                         Case{"groups_8", sized(kGroups, 8, 3, 4, 2)},
                                         Case{"groups_v2", sized(kGroups, 160, 6, 8, 3)},
                                         Case{"groups_of_one", sized(kGroups, 8, 2, 8, 3)},
                                         Case{"noaux_8", sized(kNoAux, 8, 3, 4, 2)},
                                         Case{"noaux_8_all_kept", sized(kNoAux, 8, 4, 4, 2)},
                                         Case{"noaux_v3", sized(kNoAux, 256, 8, 8, 4)},
                                         Case{"noaux_moonlight", sized(kNoAux, 64, 6, 1, 1)},
                                         Case{"noaux_kimi", sized(kNoAux, 384, 8, 1, 1)}),
                         [](const auto& info) { return info.param.name; });

TEST(MakeGateRule, RefusesWhatNoTokenCanHave) {
  const std::vector<float> bias(8, 0.f);
  for (const GateConfig& config :
       {sized(kGreedy, 0, 1, 1, 1), sized(kGreedy, 8, 0, 1, 1), sized(kGreedy, 8, 9, 1, 1),
        sized(kGroups, 8, 2, 3, 1), sized(kGroups, 8, 2, 0, 0), sized(kGroups, 8, 2, 4, 5),
        sized(kGroups, 8, 5, 4, 2), sized(kNoAux, 8, 2, 8, 2), sized(kNoAux, 8, 5, 4, 2),
        sized(kGroups, 1024, 2, 512, 4)}) {
    const auto rule = make_gate_rule(config, bias.data());
    EXPECT_EQ(rule.status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(MakeGateRule, RefusesAMethodWithoutAFile) {
  GateConfig config = sized(kGreedy, 8, 2, 1, 1);
  config.method = static_cast<GateMethod>(99);
  EXPECT_EQ(make_gate_rule(config, nullptr).status().code(), absl::StatusCode::kUnimplemented);
}

TEST(MakeGateRule, RefusesABiasThatIsNotFinite) {
  std::vector<float> bias(8, 0.f);
  bias[3] = std::numeric_limits<float>::quiet_NaN();
  const auto rule = make_gate_rule(noaux(2), bias.data());
  EXPECT_EQ(std::string(rule.status().message()), "the gate's bias of expert 3 is nan");
}

TEST(MakeGateRuleDeathTest, NoAuxTcWithoutABiasIsOurBug) {
  EXPECT_DEATH((void)make_gate_rule(noaux(2), nullptr), "bias != nullptr");
}

}  // namespace
}  // namespace conclave
