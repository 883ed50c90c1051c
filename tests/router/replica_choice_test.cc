// Which holder is asked, for random placements and picks:
//   - one that holds the expert and is not lost, or nobody where there is none such;
//   - one that is not silent, and not avoided, else one that does not drain, wherever there is one;
//   - picks are spread: no server has much more than the best that could be done.

#include "router/replica_choice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/support/manual_clock.h"

namespace conclave {
namespace {

constexpr int32_t kNumExperts = 16;

TopK top_k_of(const std::vector<int32_t>& experts, int32_t k) {
  return {.num_tokens = static_cast<int32_t>(experts.size()) / k, .k = k, .expert = experts};
}

bool contains(std::span<const ServerId> servers, ServerId server) {
  return std::find(servers.begin(), servers.end(), server) != servers.end();
}

class ReplicaChoiceTest : public testing::Test {
 protected:
  std::vector<ServerId> choose(const std::vector<int32_t>& experts,
                               const std::vector<ServerId>& lost = {}) {
    return choose_replicas(top_k_of(experts, 1), placement_, 0, health_, lost);
  }

  ManualClock clock_;
  ReplicaHealth health_{&clock_};
  Placement placement_{1, kNumExperts, 1};
};

TEST_F(ReplicaChoiceTest, EveryChoiceIsTheBestThereIs) {
  std::mt19937 rng(7);
  for (int round = 0; round < 300; ++round) {
    ReplicaHealth health(&clock_);
    Placement placement(1, kNumExperts, 1);
    const auto num_servers = static_cast<int32_t>(1 + rng() % 6);
    const auto draining_from = static_cast<int32_t>(rng() % 7);
    for (int32_t s = 0; s < num_servers; ++s) {
      for (int32_t e = 0; e < kNumExperts; ++e) {
        if (rng() % 2 == 0) placement.add(0, e, ServerId{s}, s >= draining_from);
      }
      if (rng() % 4 != 0) continue;
      health.on_sent(ServerId{s}, 1);
      health.on_loss(ServerId{s}, 1);
    }
    std::vector<ServerId> lost;
    if (rng() % 2 == 0) lost.push_back(ServerId{static_cast<int32_t>(rng() % 6)});
    std::vector<int32_t> experts(rng() % 40 + 1);
    for (int32_t& expert : experts) expert = static_cast<int32_t>(rng() % kNumExperts);

    const auto home = choose_replicas(top_k_of(experts, 1), placement, 0, health, lost);
    ASSERT_EQ(home.size(), size_t{kNumExperts});
    for (const int32_t e : experts) {
      const auto holders = placement.holders(0, e);
      // 0: avoided, 1: drains, 2: neither.
      const auto merit = [&](ServerId server) {
        if (health.is_avoided(server)) return 0;
        return static_cast<int32_t>(server) >= draining_from ? 1 : 2;
      };
      int best = -1;
      for (const ServerId holder : holders) {
        if (!contains(lost, holder)) best = std::max(best, merit(holder));
      }
      const ServerId chosen = home[static_cast<size_t>(e)];
      if (best < 0) {
        EXPECT_EQ(chosen, kNoServer);
        continue;
      }
      EXPECT_TRUE(contains(holders, chosen));
      EXPECT_FALSE(contains(lost, chosen));
      EXPECT_EQ(merit(chosen), best);
    }
  }
}

TEST_F(ReplicaChoiceTest, PicksAreSpreadOverHolders) {
  for (int32_t e = 0; e < kNumExperts; ++e) {
    for (int32_t s = 0; s < 4; ++s) placement_.add(0, e, ServerId{s});
  }
  std::vector<int32_t> experts;
  for (int32_t e = 0; e < kNumExperts; ++e) experts.insert(experts.end(), 3, e);
  std::vector<int32_t> load(4, 0);
  const auto home = choose(experts);
  for (const int32_t e : experts) ++load[static_cast<size_t>(home[static_cast<size_t>(e)])];
  for (const int32_t picks : load) EXPECT_EQ(picks, 12);
}

// The one that has no choice is placed first, wherever its number comes.
TEST_F(ReplicaChoiceTest, ExpertsWithAChoiceMakeUpForThoseWithout) {
  placement_.add(0, 0, ServerId{0});
  placement_.add(0, 0, ServerId{1});
  placement_.add(0, 5, ServerId{0});
  const auto home = choose({0, 5});
  EXPECT_EQ(home[5], ServerId{0});
  EXPECT_EQ(home[0], ServerId{1});
}

TEST_F(ReplicaChoiceTest, PicksThatAreAwayCount) {
  placement_.add(0, 3, ServerId{0});
  placement_.add(0, 3, ServerId{1});
  EXPECT_EQ(choose({3})[3], ServerId{0});
  health_.on_sent(ServerId{0}, 10);
  EXPECT_EQ(choose({3})[3], ServerId{1});
}

TEST_F(ReplicaChoiceTest, WhoIsSilentIsAskedLast) {
  placement_.add(0, 3, ServerId{0});
  placement_.add(0, 3, ServerId{1}, /*draining=*/true);
  placement_.add(0, 4, ServerId{0});
  health_.on_silence(ServerId{0}, absl::Seconds(1));
  health_.on_sent(ServerId{1}, 1);
  health_.on_loss(ServerId{1}, 1);
  ASSERT_TRUE(health_.is_avoided(ServerId{1}));
  EXPECT_EQ(choose({3})[3], ServerId{1});
  EXPECT_EQ(choose({4})[4], ServerId{0});
}

TEST_F(ReplicaChoiceTest, WithoutReplicasThereIsNoChoice) {
  for (int32_t e = 1; e < kNumExperts; ++e) placement_.add(0, e, ServerId{e % 3});
  health_.on_sent(ServerId{1}, 1);
  health_.on_loss(ServerId{1}, 1);
  const auto home = choose({1, 2, 0});
  EXPECT_EQ(home[1], ServerId{1});
  EXPECT_EQ(home[2], ServerId{2});
  EXPECT_EQ(home[0], kNoServer);
  EXPECT_EQ(choose({1}, {ServerId{1}})[1], kNoServer);
}

TEST_F(ReplicaChoiceTest, WhoIsBackAfterALossGetsLess) {
  constexpr ServerId kBack{0};
  constexpr ServerId kOther{1};
  for (int32_t e = 0; e < kNumExperts; ++e) {
    placement_.add(0, e, kBack);
    placement_.add(0, e, kOther);
  }
  health_.on_sent(kBack, 1);
  health_.on_loss(kBack, 1);
  clock_.advance(ReplicaHealth::kFirstPause);
  std::vector<int32_t> experts;
  for (int32_t e = 0; e < kNumExperts; ++e) experts.push_back(e);
  const auto num_back = [&] {
    const std::vector<ServerId> home = choose(experts);
    return std::count(home.begin(), home.end(), kBack);
  };
  EXPECT_GE(num_back(), 1) << "it would never be tried";
  EXPECT_LE(num_back(), 2);
  for (int i = 0; i < 100; ++i) {
    health_.on_sent(kBack, 1);
    health_.on_answer(kBack, 1, absl::Milliseconds(1));
  }
  EXPECT_EQ(num_back(), kNumExperts / 2);
}

}  // namespace
}  // namespace conclave
