// What placement control does where servers are slow, late, broken or flapping:
//   - what is on its way to be released is not counted on;
//   - what was loaded for a line before is released;
//   - one that cannot load is not asked again for a while, others are, and then for the same;
//   - plans are not put off for ever, are not forgotten to be stuck, and may take their time.

#include <gtest/gtest.h>

#include "gateway/placement/placement_control.h"
#include "tests/gateway/placement_world.h"

namespace conclave {
namespace {

constexpr int64_t kAll = PlacementWorld::kNumExperts;

TEST(PlacementFaults, OneThatCannotLoadIsPassedBy) {
  PlacementWorld world({.spare = 0});
  const ServerId a = world.join("a", 100);
  const ServerId b = world.join("b", 100);
  world.break_loading(a, true);
  world.settle();
  EXPECT_EQ(world.held(b).size(), kAll);
  EXPECT_TRUE(world.held(a).empty());
  world.break_loading(a, false);
  world.pass(absl::Seconds(31));
  world.settle();
  EXPECT_EQ(world.held(a).size(), kAll / 2);
}

// The order to release is on its way to a slow server when the other holder goes.
TEST(PlacementFaults, WhatASlowServerIsAboutToReleaseIsNotCountedOn) {
  PlacementWorld world({.spare = 0});
  world.join_node("n");
  const ServerId a = world.join("a", 100, experts(0, 8));
  world.settle();
  const ServerId b = world.join("b", 100);
  // B has loaded its share, and A was told to release it.
  while (world.control().num_to_release(a) == 0) {
    world.pass(absl::Milliseconds(500));
    world.beat(b);
    world.follow_view(world.nodes().front());
  }
  world.leave(b);
  world.pass(absl::Seconds(5));  // planned, while A has not read its order
  world.settle();
  EXPECT_TRUE(world.membership().coverage().complete());
  EXPECT_EQ(world.held(a).size(), kAll);
}

// It goes on with what the control before this one ordered, which nobody here wants.
TEST(PlacementFaults, WhatIsLoadedForALineBeforeIsReleased) {
  PlacementWorld world({.spare = 0});
  world.join_node("n");
  const ServerId a = world.join("a", 100, experts(0, 4));
  world.join("b", 100, experts(4, 4));
  world.settle();
  world.goes_on_with(a, experts(0, 6));
  world.settle();
  EXPECT_EQ(world.held(a).size(), kAll / 2);
}

// Whoever flaps more often than a plan settles does not keep the others from being planned.
TEST(PlacementFaults, OneThatFlapsDoesNotPutPlansOffForEver) {
  PlacementWorld world({.spare = 0});
  const ServerId a = world.join("a", 100);
  for (int i = 0; i < 100; ++i) {
    const ServerId b = world.join("flapping", 1);
    world.pass(absl::Milliseconds(100));
    world.leave(b);
    world.beat(a);
  }
  EXPECT_GE(world.held(a).size(), kAll - 1);
}

TEST(PlacementFaults, OneThatCouldNotLoadIsAskedAgainForTheSame) {
  PlacementWorld world({.spare = 0, .problem_pause = absl::Seconds(30)});
  const ServerId a = world.join("a", 100);
  world.break_loading(a, true);
  for (int i = 0; i < 10; ++i) world.turn();
  EXPECT_EQ(world.control().stats().num_pending, 0) << "there is nobody to ask";
  const int64_t before = world.num_orders();
  for (int i = 0; i < 10; ++i) world.turn();
  EXPECT_EQ(world.num_orders(), before);
  world.break_loading(a, false);
  world.pass(absl::Seconds(31));
  world.settle();
  EXPECT_EQ(world.held(a).size(), kAll);
}

TEST(PlacementFaults, StuckIsNotForgottenByAnotherPlan) {
  PlacementWorld world({.spare = 0, .patience = absl::Seconds(10)});
  const ServerId node = world.join_node("n");
  world.join("a", 100, experts(0, 8));
  world.settle();
  world.join("b", 100);
  for (int i = 0; i < 60; ++i) {
    world.pass(absl::Seconds(1));
    for (const ServerId server : world.servers()) world.beat(server);
  }
  const PlacementControl::Stats stats = world.control().stats();
  EXPECT_GT(stats.num_pending, 0) << "the node does not take in views";
  EXPECT_GT(stats.stuck, absl::Seconds(30));
  EXPECT_GT(stats.num_plans, 3);
  world.follow_view(node);
  world.settle();
}

// Servers come and go while a plan is being made.
TEST(PlacementFaults, PlansThatTakeTimeAreAdoptedForWhoIsStillThere) {
  PlacementWorld world({.spare = 0});
  world.join_node("n");
  world.planner().num_turns = 20;
  world.join("a", 100);
  const ServerId b = world.join("b", 100);
  world.pass(absl::Seconds(1));
  EXPECT_EQ(world.control().stats().num_plans, 1);
  EXPECT_EQ(world.num_orders(), 0);
  world.leave(b);
  world.join("c", 100);
  world.settle();
  world.expect_copies(1);
  EXPECT_EQ(world.num_loads(), kAll);
}

}  // namespace
}  // namespace conclave
