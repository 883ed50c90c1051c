// The view's version rises with every change and never falls; a draining server goes only when
// nobody can miss it: when all who route go by a version without it.

#include <gtest/gtest.h>

#include "tests/gateway/membership_fixture.h"

namespace conclave {
namespace {

TEST_F(MembershipTest, VersionsRiseWithTheViewAlone) {
  EXPECT_EQ(version(), 100);
  const ServerId a = join(attention_node("a"));
  EXPECT_EQ(version(), 100);  // nodes hold no experts
  const ServerId e = join(expert_server("e", experts(0, 8)));
  EXPECT_EQ(version(), 101);
  beat(e);
  beat(a, {.placement_version = 101});
  EXPECT_EQ(version(), 101);
  drain(e);
  EXPECT_EQ(version(), 102);
  EXPECT_TRUE(membership_.placement().servers[0].draining);
  drain(a);
  EXPECT_EQ(version(), 102);
  membership_.leave(e);
  membership_.leave(e);
  EXPECT_EQ(version(), 103);
}

TEST_F(MembershipTest, VersionsNeverFallBehindWhatNodesHaveSeen) {
  const ServerId a = join(attention_node("a"));
  beat(a, {.placement_version = 5000});
  EXPECT_GT(version(), 5000);
  EXPECT_FALSE(membership_.heartbeat(a, {.placement_version = -1}).ok());
}

TEST_F(MembershipTest, VersionsAreTakenFromNodesAloneAndLeaveRoom) {
  const ServerId e = join(expert_server("e", experts(0, 8)));
  const ServerId a = join(attention_node("a"));
  const int64_t before = version();
  const int64_t highest = (int64_t{1} << 62) - 1;  // that a heartbeat may say
  beat(e, {.placement_version = before + 1000});
  beat(e, {.placement_version = highest});
  beat(a, {.placement_version = highest});
  EXPECT_EQ(version(), before);
  beat(a, {.placement_version = kMaxAdoptedVersion});
  EXPECT_GT(version(), kMaxAdoptedVersion);
  for (int i = 0; i < 3; ++i) {
    membership_.leave(join(expert_server("f", experts(0, 8))));
    beat(a, {.placement_version = version()});  // as a node says that has got it
    EXPECT_EQ(membership_.acknowledged(), version());
  }
}

TEST_F(MembershipTest, ADrainingServerGoesWhenNodesKnowThatOthersHoldItsExperts) {
  const ServerId node = join(attention_node("n"));
  const ServerId a = join(expert_server("a", experts(0, 8)));
  const ServerId b = join(expert_server("b", experts(0, 5)));
  EXPECT_FALSE(membership_.may_leave(a));  // it does not drain
  drain(a);
  beat(node, {.placement_version = version()});
  EXPECT_FALSE(membership_.may_leave(a));  // 5, 6, 7 live nowhere else
  const ServerId c = join(expert_server("c", experts(5, 3)));
  EXPECT_FALSE(membership_.may_leave(a));  // the node has not heard of it
  beat(node, {.placement_version = version()});
  EXPECT_TRUE(membership_.may_leave(a));
  const ServerId late = join(attention_node("late"));
  EXPECT_FALSE(membership_.may_leave(a));
  beat(late, {.placement_version = version()});
  EXPECT_TRUE(membership_.may_leave(a));

  drain(c);  // two that drain cannot rely on each other
  EXPECT_FALSE(membership_.may_leave(a));
  EXPECT_FALSE(membership_.may_leave(c));
  EXPECT_FALSE(membership_.may_leave(b));
  beat(c);                                 // it stays after all
  EXPECT_FALSE(membership_.may_leave(a));  // what nodes knew before does not count
  beat(node, {.placement_version = version()});
  beat(late, {.placement_version = version()});
  EXPECT_TRUE(membership_.may_leave(a));
}

TEST_F(MembershipTest, ARouterOfThisProcessIsWaitedForLikeANode) {
  const ServerId node = join(attention_node("n"));
  const ServerId a = join(expert_server("a", experts(0, 8)));
  membership_.router_uses(version());
  join(expert_server("b", experts(0, 8)));
  drain(a);
  beat(node, {.placement_version = version()});
  EXPECT_LT(membership_.acknowledged(), version());
  EXPECT_FALSE(membership_.may_leave(a));  // the router may still be asking it
  const int64_t changes = membership_.num_changes();
  membership_.router_uses(version());
  EXPECT_GT(membership_.num_changes(), changes);
  EXPECT_EQ(membership_.acknowledged(), version());
  EXPECT_TRUE(membership_.may_leave(a));
}

TEST_F(MembershipTest, WithoutNodesNobodyIsMissed) {
  const ServerId a = join(expert_server("a", experts(0, 8)));
  EXPECT_FALSE(membership_.may_leave(a));
  drain(a);
  EXPECT_TRUE(membership_.may_leave(a));
  EXPECT_FALSE(membership_.may_leave(ServerId{99}));
}

TEST_F(MembershipTest, ADrainingNodeGoesWithoutRequests) {
  const ServerId a = join(attention_node("a"));
  beat(a, {.draining = true, .node = {.num_waiting = 1}});
  EXPECT_FALSE(membership_.may_leave(a));
  EXPECT_TRUE(membership_.nodes()[0].draining);
  drain(a);
  EXPECT_TRUE(membership_.may_leave(a));
}

}  // namespace
}  // namespace conclave
