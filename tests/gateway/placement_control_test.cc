// What placement control promises, beside what PlacementWorld holds after every event
// (placement_faults_test.cc has what goes wrong on the way):
//   - experts that nobody holds are loaded, also when their last server has gone;
//   - every expert is on min_replicas servers where there is room, and no more than the share to
//     spare beyond;
//   - who joins takes an even share over; who drains may leave when all it has is elsewhere;
//   - servers that are not managed are never ordered anything and count as holders;
//   - a restarted control moves nothing;
//   - it ends: after whatever has happened, nothing is pending and no order follows.

#include "gateway/placement/placement_control.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "gateway/placement/slot_budget.h"
#include "tests/gateway/placement_world.h"

namespace conclave {
namespace {

constexpr int64_t kAll = PlacementWorld::kNumExperts;

TEST(PlacementControl, EmptyServersShareTheModel) {
  PlacementWorld world({.spare = 0});
  const ServerId a = world.join("a", 100);
  const ServerId b = world.join("b", 100);
  const ServerId c = world.join("c", 100);
  world.settle();
  world.expect_copies(1);
  EXPECT_EQ(world.num_loads(), kAll);
  for (const ServerId server : {a, b, c}) EXPECT_EQ(world.held(server).size(), kAll / 3);
}

TEST(PlacementControl, AsManyCopiesAsAreAskedForAndNoMore) {
  PlacementWorld world({.min_replicas = 2, .spare = 0});
  for (const char* id : {"a", "b", "c", "d"}) world.join(id, 1000);
  world.settle();
  world.expect_copies(2);
  EXPECT_EQ(world.num_loads(), 2 * kAll);
}

TEST(PlacementControl, TheLastHoldersExpertsAreLoadedElsewhere) {
  PlacementWorld world({.spare = 0});
  world.join_node("n");
  const ServerId a = world.join("a", 100, experts(0, 4));
  const ServerId b = world.join("b", 100, experts(4, 4));
  world.settle();
  EXPECT_EQ(world.num_loads(), 0);
  world.leave(b);
  EXPECT_FALSE(world.membership().coverage().complete());
  world.settle();
  EXPECT_TRUE(world.membership().coverage().complete());
  EXPECT_EQ(world.num_loads(), kAll / 2);
  EXPECT_EQ(world.held(a).size(), kAll);
}

TEST(PlacementControl, WhoJoinsTakesAShare) {
  PlacementWorld world({.spare = 0});
  const ServerId node = world.join_node("n");
  const ServerId a = world.join("a", 100, experts(0, 4));
  world.join("b", 100, experts(4, 4));
  world.settle();
  const ServerId c = world.join("c", 100);
  // Releases wait for the node.
  for (int i = 0; i < 40; ++i) {
    world.pass(absl::Milliseconds(500));
    for (const ServerId server : world.servers()) world.beat(server);
  }
  EXPECT_EQ(world.held(c).size(), kAll / 3);
  EXPECT_GE(world.held(a).size(), kAll / 2);
  EXPECT_GT(world.control().stats().num_pending, 0);
  EXPECT_GT(world.control().stats().stuck, absl::Seconds(3));
  world.follow_view(node);
  world.settle();
  EXPECT_EQ(world.held(a).size(), kAll / 3);
  EXPECT_EQ(world.control().stats().stuck, absl::ZeroDuration());
  EXPECT_LT(world.num_loads(), kAll) << "most stays where it is";
}

TEST(PlacementControl, WhoDrainsHandsOver) {
  PlacementWorld world({.spare = 0});
  world.join_node("n");
  world.join("a", 100, experts(0, 4));
  const ServerId b = world.join("b", 100, experts(4, 4));
  world.settle();
  world.drain(b);
  EXPECT_FALSE(world.membership().may_leave(b));
  world.settle();
  EXPECT_TRUE(world.membership().may_leave(b));
  EXPECT_EQ(world.held(b).size(), kAll / 2) << "it serves to the end";
  world.leave(b);
  world.settle();
  world.expect_copies(1);
}

TEST(PlacementControl, NoRoomForWhatDrains) {
  PlacementWorld world({.spare = 0});
  world.join("a", kAll / 2, experts(0, 4));
  const ServerId b = world.join("b", kAll / 2, experts(4, 4));
  world.join_node("n");
  world.drain(b);
  world.settle();
  EXPECT_FALSE(world.membership().may_leave(b));
  EXPECT_EQ(world.control().stats().num_short, kAll / 2);
  EXPECT_TRUE(world.membership().coverage().complete());
}

TEST(PlacementControl, FixedServersAreLeftAsTheyAre) {
  PlacementWorld world({.min_replicas = 2, .spare = 0});
  world.join("fixed", 100, experts(0, 8), /*managed=*/false);
  const ServerId a = world.join("a", 100);
  const ServerId b = world.join("b", 100);
  world.settle();
  world.expect_copies(2);
  EXPECT_EQ(world.held(a).size() + world.held(b).size(), kAll);
}

TEST(PlacementControl, ARestartMovesNothing) {
  PlacementWorld world({.min_replicas = 2, .spare = 0});
  world.join_node("n");
  world.join("a", 100, experts(0, 4));
  world.pass(absl::Seconds(2));  // the others come back later
  EXPECT_EQ(world.num_orders(), 0);
  world.join("b", 100, experts(4, 4));
  world.join("c", 100, experts(0, 4));
  world.join("d", 100, experts(4, 4));
  world.settle();
  EXPECT_EQ(world.num_orders(), 0);
  EXPECT_EQ(world.num_loads(), 0);
}

TEST(PlacementControl, HotExpertsGetMoreServers) {
  PlacementWorld world({.spare = 0.5});
  world.join_node("n");
  world.join("a", 100, experts(0, 4));
  world.join("b", 100, experts(4, 4));
  for (size_t e = 0; e < 8; ++e) world.picks()[8 + e] = e == 1 ? 1000 : 10;
  for (int i = 0; i < 200; ++i) world.turn();
  world.settle();
  EXPECT_EQ(world.num_holders(1, 1), 2);
  EXPECT_EQ(world.num_holders(2, 1), 1) << "nobody asks for it there";
}

TEST(SlotBudget, TheLowestLevelThatIsEnough) {
  EXPECT_EQ(slot_level(std::vector<int64_t>{10, 10, 10}, 24), 8);
  EXPECT_EQ(slot_level(std::vector<int64_t>{10, 10, 10}, 25), 9);
  EXPECT_EQ(slot_level(std::vector<int64_t>{2, 100, 10}, 24), 12);
  EXPECT_EQ(slot_level(std::vector<int64_t>{2, 3}, 24), 3);
  EXPECT_EQ(slot_level(std::vector<int64_t>{7}, 0), 0);
  EXPECT_EQ(slot_level(std::vector<int64_t>{}, 24), 0);
}

// Servers and nodes that do what they like, then peace.
class PlacementStory {
 public:
  explicit PlacementStory(uint32_t seed)
      : random_(seed),
        world_({.min_replicas = 1 + static_cast<int32_t>(roll(3)),
                .spare = 0.25 * static_cast<double>(roll(4)),
                .rebalance = absl::Seconds(5)}) {
    world_.planner().num_turns = static_cast<int>(roll(2) * roll(10));
  }

  void run() {
    roomy_ = world_.join("roomy", 100);
    for (int i = 0; i < 300; ++i) step();
    for (const ServerId server : world_.servers()) world_.break_loading(server, false);
    for (int64_t& count : world_.picks()) count = 0;
    world_.settle();
    world_.pass(absl::Seconds(31));  // who could not load is asked again
    world_.settle();
    EXPECT_TRUE(world_.membership().coverage().complete());
    for (int i = 0; i < 30; ++i) world_.turn();  // it is time to move for the load alone
    world_.settle();
    const int64_t orders = world_.num_orders();
    for (int i = 0; i < 30; ++i) world_.turn();
    EXPECT_EQ(world_.num_orders(), orders) << "it does not come to rest";
  }

 private:
  uint32_t roll(uint32_t sides) { return static_cast<uint32_t>(random_() % sides); }
  ServerId any(const std::vector<ServerId>& of) {
    return of[roll(static_cast<uint32_t>(of.size()))];
  }

  void step() {
    const std::vector<ServerId> servers = world_.servers();
    const std::vector<ServerId> nodes = world_.nodes();
    world_.pass(absl::Milliseconds(roll(400)));
    for (int64_t& count : world_.picks()) count = roll(20);
    const uint32_t kind = roll(30);
    if (kind == 0 && servers.size() < 7) {
      join();
    } else if (kind == 1 && !others().empty()) {
      world_.leave(any(others()));
    } else if (kind == 2 && !others().empty()) {
      world_.drain(any(others()));
    } else if (kind == 3 && !servers.empty()) {
      world_.break_loading(any(servers), roll(2) == 0);
    } else if (kind == 4 && nodes.size() < 3) {
      world_.join_node("node-" + std::to_string(num_names_++));
    } else if (kind < 10 && !nodes.empty()) {
      world_.follow_view(any(nodes));
    } else if (kind < 16 && !servers.empty()) {
      world_.speak(any(servers));
    } else if (!servers.empty()) {
      world_.beat(any(servers));
    }
  }

  void join() {
    const auto first = static_cast<int32_t>(roll(8));
    const auto count = static_cast<int32_t>(roll(static_cast<uint32_t>(9 - first)));
    const bool managed = count == 0 || roll(4) > 0;
    world_.join("server-" + std::to_string(num_names_++), 3 * count + 1 + roll(20),
                experts(first, count), managed);
  }

  // Of all but the one that has room for everything.
  std::vector<ServerId> others() const {
    std::vector<ServerId> ids = world_.servers();
    ids.erase(std::find(ids.begin(), ids.end(), roomy_));
    return ids;
  }

  std::mt19937 random_;
  PlacementWorld world_;
  ServerId roomy_{};
  int num_names_ = 0;
};

TEST(PlacementControl, WhateverHappensItComesToRest) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    PlacementStory(seed).run();
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace conclave
