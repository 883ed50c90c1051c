// How often a gateway's loop says and does what: what matters at once, load together with more
// load, gauges and silence at their time, however often the loop comes by.

#include "services/gateway/cluster_state.h"

#include <gtest/gtest.h>

#include "tests/gateway/fake_cluster.h"
#include "tests/support/manual_clock.h"

namespace conclave {
namespace {

class ClusterStateTest : public testing::Test {
 protected:
  ClusterStateTest() {
    state_.on_nodes = [this] { ++num_nodes_; };
    state_.on_placement = [this] { ++num_placements_; };
    state_.on_tick = [this] { ++num_ticks_; };
    state_.on_order = [this](const PlacementControl::Order&) { ++num_orders_; };
    state_.on_expired = [this](ServerId) { ++num_expired_; };
    // Past the time in which a new control waits for servers to come back.
    clock_.advance(absl::Seconds(4));
    state_.tick();
  }

  ServerId join(const ServerFacts& facts) {
    const ServerId server = *membership_.join(facts);
    placement_.joined(server, facts);
    state_.members_changed();
    return server;
  }

  // As control does with each heartbeat, and the loop after it.
  void beat(ServerId server, const Heartbeat& heartbeat) {
    ASSERT_TRUE(membership_.heartbeat(server, heartbeat).ok());
    placement_.heard(server, heartbeat);
    state_.members_changed();
    state_.tick();
  }

  // Goes to `end` as the loop does that is called when tick() says. Returns how often that was.
  int run_until(absl::Time end) {
    int num_calls = 0;
    for (absl::Time next = state_.tick(); next <= end; next = state_.tick()) {
      clock_.set(std::max(next, clock_.now()));
      ++num_calls;
    }
    clock_.set(end);
    return num_calls;
  }

  ServerFacts managed(const std::string& id) const {
    ServerFacts facts = expert_server(id, experts(0, 0));
    facts.managed = true;
    facts.held_bytes = 0;
    facts.expert_bytes = 100;
    facts.capacity_bytes = 100 * 100;
    return facts;
  }

  ManualClock clock_;
  Membership membership_{
      four_layers(), &clock_, {.weights = kWeights, .silence_limit = absl::Seconds(3)}};
  PlanMakerHere planner_;
  PlacementControl placement_{
      four_layers(), {.clock = &clock_, .membership = &membership_, .planner = &planner_}, {}};
  ClusterState state_{{.clock = &clock_, .membership = &membership_, .placement = &placement_}};
  int num_nodes_ = 0;
  int num_placements_ = 0;
  int num_ticks_ = 0;
  int num_orders_ = 0;
  int num_expired_ = 0;
};

TEST_F(ClusterStateTest, TicksAtItsTimeHoweverOftenItIsCalled) {
  const int ticks = num_ticks_;
  const int nodes = num_nodes_;
  for (int token = 0; token < 1000; ++token) {
    EXPECT_GT(state_.tick(), clock_.now());
    clock_.advance(absl::Microseconds(100));
  }
  EXPECT_EQ(num_ticks_, ticks);
  EXPECT_EQ(num_nodes_, nodes);
  clock_.advance(absl::Milliseconds(400));
  state_.tick();
  EXPECT_EQ(num_ticks_, ticks + 1);
  EXPECT_EQ(num_nodes_, nodes + 1);
}

TEST_F(ClusterStateTest, LoadIsToldTogether) {
  const ServerId node = join(attention_node("a"));
  run_until(clock_.now() + absl::Seconds(2));
  beat(node, {.node = {.num_running = 1}});
  int told = num_nodes_;
  for (int i = 0; i < 1000; ++i) {
    beat(node, {.node = {.num_running = i}});
    clock_.advance(absl::Milliseconds(1));
  }
  EXPECT_LE(num_nodes_ - told, 25);
  EXPECT_GE(num_nodes_ - told, 15);
  // The last word is not lost, and comes soon.
  told = num_nodes_;
  beat(node, {.node = {.num_running = 7}});
  run_until(clock_.now() + absl::Milliseconds(50));
  state_.tick();
  EXPECT_GT(num_nodes_, told);
  EXPECT_EQ(state_.nodes()[0].load.num_running, 7);
}

TEST_F(ClusterStateTest, WhatMattersIsToldAtOnce) {
  const ServerId a = join(attention_node("a"));
  EXPECT_EQ(state_.nodes().size(), 1);
  join(attention_node("b"));
  EXPECT_EQ(state_.nodes().size(), 2);
  beat(a, {.draining = true});
  EXPECT_TRUE(state_.nodes()[0].draining);
  const int placements = num_placements_;
  const ServerId e = join(expert_server("e", experts(0, 8)));
  EXPECT_EQ(num_placements_, placements + 1);
  EXPECT_TRUE(state_.summary().covered);
  membership_.leave(e);
  placement_.left(e);
  state_.members_changed();
  EXPECT_EQ(num_placements_, placements + 2);
  EXPECT_FALSE(state_.summary().covered);
}

TEST_F(ClusterStateTest, SilenceIsSeenAtTheTick) {
  join(attention_node("a"));
  run_until(clock_.now() + absl::Seconds(2));
  EXPECT_EQ(num_expired_, 0);
  run_until(clock_.now() + absl::Seconds(2));
  EXPECT_EQ(num_expired_, 1);
  EXPECT_TRUE(state_.nodes().empty());
}

// A plan is made a second after the last change: the orders go then, and not at a later tick; and
// what a server says of them is acted on at once.
TEST_F(ClusterStateTest, OrdersDoNotWaitForTheTick) {
  const ServerId server = join(managed("e"));
  const absl::Time joined = clock_.now();
  run_until(joined + absl::Milliseconds(900));
  EXPECT_EQ(num_orders_, 0);
  run_until(joined + absl::Milliseconds(1150));
  state_.tick();
  ASSERT_EQ(num_orders_, 1);

  const int placements = num_placements_;
  beat(server, {.holding = Holding{.held = experts(0, 4), .held_bytes = 1200, .order = 1}});
  EXPECT_EQ(num_placements_, placements + 1);
  beat(server, {.holding = Holding{.held = experts(0, 8), .held_bytes = 2400, .order = 1}});
  EXPECT_EQ(num_placements_, placements + 2);
  EXPECT_TRUE(state_.summary().covered);
}

TEST_F(ClusterStateTest, WhereNothingMovesItIsCalledTwiceASecond) {
  const ServerId e = join(expert_server("e", experts(0, 8)));
  run_until(clock_.now() + absl::Seconds(2));
  beat(e, {});
  run_until(clock_.now() + absl::Seconds(2));
  beat(e, {});
  EXPECT_LE(run_until(clock_.now() + absl::Seconds(2)), 5);
}

}  // namespace
}  // namespace conclave
