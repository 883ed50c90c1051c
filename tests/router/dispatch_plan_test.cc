// What a dispatch plan must keep, whatever the gate picked and wherever experts live:
//   - every pick of every token is on exactly one leg (nothing lost, nothing doubled), at its home;
//   - tokens ascend on a leg, experts ascend within a row, a token is sent once to a server;
//   - a leg has at most max_picks picks, unless one token alone has more;
//   - a row that picks nothing is on no leg and gets zeros;
//   - with experts that answer what they are told, combine(dispatch(x)) == x;
//   - the sum is taken in ascending expert id: the bits of a plain loop, under every placement.

#include "router/dispatch_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <tuple>

#include "router/placement.h"

namespace conclave {
namespace {

constexpr int32_t kNumExperts = 16;
constexpr int32_t kTopK = 4;  // weights of 1/4 add up without rounding
constexpr int32_t kNumCols = 9;

enum class Homes { kBlocks, kStriped, kEachItsOwn, kOneServer, kOneExpertAway };

std::vector<ServerId> home_of_each_expert(Homes homes) {
  std::vector<ServerId> home;
  for (int32_t e = 0; e < kNumExperts; ++e) {
    switch (homes) {
      case Homes::kBlocks:
        home.push_back(ServerId{e / 4});
        break;
      case Homes::kStriped:
        home.push_back(ServerId{3 - e % 3});
        break;
      case Homes::kEachItsOwn:
        home.push_back(ServerId{100 - e});
        break;
      case Homes::kOneServer:
        home.push_back(ServerId{7});
        break;
      case Homes::kOneExpertAway:
        home.push_back(ServerId{e == 5 ? 0 : 1});
        break;
    }
  }
  return home;
}

// Each token picks kTopK different experts in ascending id; the low ids are picked far more often,
// and every eighth row is faulty.
TopK random_top_k(int32_t num_tokens, uint32_t seed) {
  std::mt19937 rng(seed);
  TopK top_k{.num_tokens = num_tokens, .k = kTopK};
  for (int32_t t = 0; t < num_tokens; ++t) {
    std::set<int32_t> picked;
    while (picked.size() < kTopK) {
      picked.insert(static_cast<int32_t>(std::min(rng() % kNumExperts, rng() % kNumExperts)));
    }
    const bool faulty = t % 8 == 3;
    top_k.num_faulty += faulty ? 1 : 0;
    for (const int32_t expert : picked) {
      top_k.expert.push_back(faulty ? kNoExpert : expert);
      top_k.weight.push_back(faulty ? 0.f : 1.f / kTopK);
    }
  }
  return top_k;
}

bool is_faulty(const TopK& top_k, int32_t t) { return top_k.expert[t * top_k.k] == kNoExpert; }

Matrix<float> random_matrix(int32_t num_rows, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  Matrix<float> x(num_rows, kNumCols);
  for (int32_t t = 0; t < num_rows; ++t) {
    std::generate_n(x.row(t), kNumCols, [&] { return normal(rng); });
  }
  return x;
}

// What an expert says of a token: the row times a number that depends on the expert.
using Voice = float (*)(int32_t expert);
float echo(int32_t) { return 1.f; }
float own_voice(int32_t expert) { return 0.37f + 1.13f * static_cast<float>(expert); }

// Sends x over the plan and puts the answers together.
Matrix<float> send_and_combine(const DispatchPlan& plan, const TopK& top_k, Rows<const float> x,
                               Voice voice) {
  std::vector<Matrix<float>> answers;
  for (const Leg& leg : plan.legs) {
    Matrix<float> said(leg.num_picks(), kNumCols);
    for (int32_t m = 0; m < leg.num_rows(); ++m) {
      for (int32_t p = leg.pick_begin[m]; p < leg.pick_begin[m + 1]; ++p) {
        const float* const heard = x.row(leg.token_idx[m]);
        std::transform(heard, heard + kNumCols, said.row(p),
                       [&](float v) { return v * voice(leg.pick_expert[p]); });
      }
    }
    answers.push_back(std::move(said));
  }
  std::vector<Rows<const float>> views;
  for (const Matrix<float>& said : answers) views.push_back(said.view());
  Matrix<float> out = random_matrix(x.num_rows, /*seed=*/99);  // what was there must not matter
  combine(plan, top_k, views, out.view());
  return out;
}

// The definition, one multiplication and one addition at a time.
Matrix<float> naive_sum(const TopK& top_k, Rows<const float> x, Voice voice) {
  Matrix<float> out(x.num_rows, kNumCols);
  for (int32_t t = 0; t < x.num_rows; ++t) {
    for (int32_t k = 0; k < kTopK && !is_faulty(top_k, t); ++k) {
      const int32_t slot = t * kTopK + k;
      for (int32_t c = 0; c < kNumCols; ++c) {
        const float said = x.row(t)[c] * voice(top_k.expert[slot]);
        const float weighed = top_k.weight[slot] * said;
        out.row(t)[c] = out.row(t)[c] + weighed;
      }
    }
  }
  return out;
}

void expect_same_bits(Matrix<float>& a, Matrix<float>& b) {
  ASSERT_EQ(a.num_rows(), b.num_rows());
  for (int32_t t = 0; t < a.num_rows(); ++t) {
    for (int32_t c = 0; c < kNumCols; ++c) {
      ASSERT_EQ(std::bit_cast<uint32_t>(a.row(t)[c]), std::bit_cast<uint32_t>(b.row(t)[c]))
          << "token " << t << " column " << c;
    }
  }
}

using Case = std::tuple<int32_t, Homes, int32_t>;  // tokens, homes, max_picks

class DispatchPlanTest : public testing::TestWithParam<Case> {
 protected:
  const int32_t num_tokens_ = std::get<0>(GetParam());
  const std::vector<ServerId> home_ = home_of_each_expert(std::get<1>(GetParam()));
  const int32_t max_picks_ = std::get<2>(GetParam());
  const TopK top_k_ = random_top_k(num_tokens_, /*seed=*/7);
  const DispatchPlan plan_ = plan_dispatch(top_k_, home_, max_picks_);
};

TEST_P(DispatchPlanTest, SendsEveryPickOnceToItsHome) {
  std::vector<int> num_sent(top_k_.expert.size(), 0);
  for (const Leg& leg : plan_.legs) {
    ASSERT_EQ(leg.pick_slot.size(), leg.pick_expert.size());
    for (int32_t m = 0; m < leg.num_rows(); ++m) {
      for (int32_t p = leg.pick_begin[m]; p < leg.pick_begin[m + 1]; ++p) {
        const int32_t slot = leg.pick_slot[p];
        ASSERT_EQ(slot / kTopK, leg.token_idx[m]);
        ASSERT_EQ(top_k_.expert[slot], leg.pick_expert[p]);
        ASSERT_EQ(home_[leg.pick_expert[p]], leg.server);
        ++num_sent[slot];
      }
    }
  }
  for (size_t slot = 0; slot < num_sent.size(); ++slot) {
    ASSERT_EQ(num_sent[slot], top_k_.expert[slot] == kNoExpert ? 0 : 1) << "slot " << slot;
  }
}

TEST_P(DispatchPlanTest, LegsAreWellFormed) {
  for (const Leg& leg : plan_.legs) {
    ASSERT_EQ(leg.pick_begin.size(), leg.token_idx.size() + 1);
    ASSERT_EQ(leg.pick_begin.front(), 0);
    ASSERT_EQ(leg.pick_begin.back(), leg.num_picks());
    for (int32_t m = 0; m < leg.num_rows(); ++m) {
      ASSERT_LT(leg.pick_begin[m], leg.pick_begin[m + 1]) << "a row without picks";
      ASSERT_TRUE(m == 0 || leg.token_idx[m - 1] < leg.token_idx[m]);
      for (int32_t p = leg.pick_begin[m] + 1; p < leg.pick_begin[m + 1]; ++p) {
        ASSERT_LT(leg.pick_expert[p - 1], leg.pick_expert[p]);
      }
    }
  }
}

TEST_P(DispatchPlanTest, SendsATokenOncePerServer) {
  std::set<std::pair<ServerId, int32_t>> seen;
  for (const Leg& leg : plan_.legs) {
    for (const int32_t t : leg.token_idx) ASSERT_TRUE(seen.insert({leg.server, t}).second);
  }
}

TEST_P(DispatchPlanTest, CutsLegsAtMaxPicks) {
  std::map<ServerId, const Leg*> last;
  for (const Leg& leg : plan_.legs) {
    ASSERT_TRUE(leg.num_picks() <= max_picks_ || leg.num_rows() == 1);
    // A new leg is opened only when the one before could not take its first row.
    const auto before = last.find(leg.server);
    if (before != last.end()) {
      ASSERT_GT(before->second->num_picks() + leg.pick_begin[1], max_picks_);
      ASSERT_LT(before->second->token_idx.back(), leg.token_idx.front());
    }
    last[leg.server] = &leg;
  }
}

TEST_P(DispatchPlanTest, EchoingExpertsGiveTheTokensBack) {
  Matrix<float> x(num_tokens_, kNumCols);
  for (int32_t t = 0; t < num_tokens_; ++t) {
    std::iota(x.row(t), x.row(t) + kNumCols, static_cast<float>(1 + t * kNumCols));
  }
  Matrix<float> y = send_and_combine(plan_, top_k_, x.view(), echo);
  for (int32_t t = 0; t < num_tokens_; ++t) {
    for (int32_t c = 0; c < kNumCols; ++c) {
      ASSERT_EQ(y.row(t)[c], is_faulty(top_k_, t) ? 0.f : x.row(t)[c]) << "token " << t;
    }
  }
}

TEST_P(DispatchPlanTest, SumsInAscendingExpertId) {
  TopK top_k = top_k_;
  std::mt19937 rng(5);
  std::uniform_real_distribution<float> uniform(-2.f, 2.f);
  for (float& weight : top_k.weight) weight = uniform(rng);
  Matrix<float> x = random_matrix(num_tokens_, /*seed=*/3);
  Matrix<float> y = send_and_combine(plan_, top_k, x.view(), own_voice);
  Matrix<float> expected = naive_sum(top_k, x.view(), own_voice);
  expect_same_bits(y, expected);
}

INSTANTIATE_TEST_SUITE_P(Plans, DispatchPlanTest,
                         testing::Combine(testing::Values(0, 1, 2, 33, 256),
                                          testing::Values(Homes::kBlocks, Homes::kStriped,
                                                          Homes::kEachItsOwn, Homes::kOneServer,
                                                          Homes::kOneExpertAway),
                                          testing::Values(3, kMaxPicksPerLeg)));

TEST(DispatchPlan, ATokenLargerThanALegTravelsAlone) {
  const TopK top_k = random_top_k(/*num_tokens=*/3, /*seed=*/1);
  const DispatchPlan plan = plan_dispatch(top_k, home_of_each_expert(Homes::kOneServer), 3);
  ASSERT_EQ(plan.legs.size(), 3u);
  for (const Leg& leg : plan.legs) {
    EXPECT_EQ(leg.num_rows(), 1);
    EXPECT_EQ(leg.num_picks(), kTopK);
  }
}

TEST(DispatchPlan, NothingPickedIsNoLeg) {
  const TopK top_k{.num_tokens = 5,
                   .k = 2,
                   .expert = std::vector<int32_t>(10, kNoExpert),
                   .weight = std::vector<float>(10, 0.f),
                   .num_faulty = 5};
  EXPECT_TRUE(plan_dispatch(top_k, home_of_each_expert(Homes::kBlocks)).legs.empty());
}

TEST(DispatchPlanDeathTest, AnExpertWithoutAHomeIsOurMistake) {
  const TopK top_k = random_top_k(/*num_tokens=*/1, /*seed=*/1);
  const std::vector<ServerId> nobody(kNumExperts, kNoServer);
  EXPECT_DEATH(plan_dispatch(top_k, nobody), "kNoServer");
}

}  // namespace
}  // namespace conclave
