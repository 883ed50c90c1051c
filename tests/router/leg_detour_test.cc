// What a detour must keep, for random placements, picks and misfortunes:
//   - every pick of the leg is either on one leg of the plan or in the rest, with its row;
//   - a row stays if and only if one of its picks has no other holder that may be asked;
//   - nobody is asked who is lost, silent, or the leg's own server, nor who is avoided where that
//     is not wanted.

#include "router/leg_detour.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include "tests/support/manual_clock.h"

namespace conclave {
namespace {

constexpr int32_t kNumExperts = 12;
constexpr int32_t kNumServers = 5;
constexpr int32_t kTopK = 3;
constexpr ServerId kOwn{0};  // holds everything

TopK random_picks(int32_t num_tokens, std::mt19937* rng) {
  TopK top_k{.num_tokens = num_tokens, .k = kTopK, .expert = {}, .weight = {}};
  std::vector<int32_t> experts(kNumExperts);
  std::iota(experts.begin(), experts.end(), 0);
  for (int32_t t = 0; t < num_tokens; ++t) {
    std::shuffle(experts.begin(), experts.end(), *rng);
    std::sort(experts.begin(), experts.begin() + kTopK);
    top_k.expert.insert(top_k.expert.end(), experts.begin(), experts.begin() + kTopK);
  }
  return top_k;
}

class LegDetourTest : public testing::TestWithParam<int32_t> {
 protected:
  LegDetourTest() {
    for (int32_t e = 0; e < kNumExperts; ++e) {
      placement_.add(0, e, kOwn);
      for (int32_t s = 1; s < kNumServers; ++s) {
        if (rng_() % 3 == 0) placement_.add(0, e, ServerId{s});
      }
    }
    lost_.push_back(ServerId{1});
    health_.on_silence(ServerId{2}, absl::Seconds(1));
    health_.on_sent(ServerId{3}, 1);
    health_.on_loss(ServerId{3}, 1);
    const std::vector<ServerId> home(kNumExperts, kOwn);
    top_k_ = random_picks(GetParam(), &rng_);
    leg_ = plan_dispatch(top_k_, home).legs.at(0);
  }

  std::set<int32_t> asked(bool may_ask_avoided) const {
    return may_ask_avoided ? std::set<int32_t>{3, 4} : std::set<int32_t>{4};
  }
  bool has_way(int32_t expert, const std::set<int32_t>& asked) const {
    const auto holders = placement_.holders(0, expert);
    return std::any_of(holders.begin(), holders.end(), [&](ServerId server) {
      return asked.contains(static_cast<int32_t>(server));
    });
  }

  std::mt19937 rng_{static_cast<uint32_t>(GetParam())};
  ManualClock clock_;
  ReplicaHealth health_{&clock_};
  Placement placement_{1, kNumExperts, 1};
  std::vector<ServerId> lost_;
  TopK top_k_;
  Leg leg_;
};

TEST_P(LegDetourTest, TakesTheRowsThatHaveAWay) {
  for (const bool may_ask_avoided : {true, false}) {
    const LegDetour detour = plan_detour(leg_, top_k_,
                                         {.placement = &placement_,
                                          .health = &health_,
                                          .lost = lost_,
                                          .layer_idx = 0,
                                          .may_ask_avoided = may_ask_avoided});
    std::map<int32_t, int32_t> expert_of_slot;  // of all parts
    const auto add = [&](const Leg& leg) {
      ASSERT_EQ(leg.pick_begin.size(), leg.token_idx.size() + 1);
      for (int32_t m = 0; m < leg.num_rows(); ++m) {
        for (int32_t p = leg.pick_begin[m]; p < leg.pick_begin[m + 1]; ++p) {
          EXPECT_EQ(leg.pick_slot[p] / kTopK, leg.token_idx[m]);
          EXPECT_TRUE(expert_of_slot.emplace(leg.pick_slot[p], leg.pick_expert[p]).second);
        }
      }
    };
    for (const Leg& leg : detour.plan.legs) {
      add(leg);
      EXPECT_TRUE(asked(may_ask_avoided).contains(static_cast<int32_t>(leg.server)));
    }
    add(detour.rest);
    ASSERT_EQ(expert_of_slot.size(), leg_.pick_slot.size());
    for (size_t p = 0; p < leg_.pick_slot.size(); ++p) {
      EXPECT_EQ(expert_of_slot.at(leg_.pick_slot[p]), leg_.pick_expert[p]);
    }

    std::vector<int32_t> staying;
    for (int32_t m = 0; m < leg_.num_rows(); ++m) {
      bool stays = false;
      for (int32_t p = leg_.pick_begin[m]; p < leg_.pick_begin[m + 1]; ++p) {
        stays = stays || !has_way(leg_.pick_expert[p], asked(may_ask_avoided));
      }
      if (stays) staying.push_back(leg_.token_idx[m]);
    }
    EXPECT_EQ(detour.rest.token_idx, staying);
    EXPECT_EQ(detour.rest.server, kOwn);
    EXPECT_EQ(detour.is_whole(), staying.empty());
  }
}

INSTANTIATE_TEST_SUITE_P(Tokens, LegDetourTest, testing::Values(1, 2, 33, 256));

}  // namespace
}  // namespace conclave
