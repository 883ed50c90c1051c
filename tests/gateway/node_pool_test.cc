// Nodes that are full or failing are left alone for a while, and no longer: the wait doubles with
// every failure, starts anew after a token, and counts the death of many runs at once as one.

#include "gateway/node_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/gateway/table_fakes.h"
#include "tests/support/manual_clock.h"

namespace conclave {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class NodePoolTest : public testing::Test {
 protected:
  ServerId choose() { return pool_.choose(10).value_or(ServerId{-9}); }

  ManualClock clock_;
  NodePool pool_{&clock_, {}};
};

TEST_F(NodePoolTest, TellsWhatIsLost) {
  EXPECT_THAT(pool_.lost_in({node_info(0)}), IsEmpty());
  pool_.update({node_info(0), node_info(1), node_info(2)});
  EXPECT_THAT(pool_.lost_in({node_info(1), node_info(2, 4, /*incarnation=*/2), node_info(7)}),
              ElementsAre(ServerId{0}, ServerId{2}));
}

TEST_F(NodePoolTest, CountsWhatIsAssigned) {
  pool_.update({node_info(0, 2)});
  pool_.assign(ServerId{0}, 900);
  pool_.assign(ServerId{0}, 900);  // more than its cache: it sees to that itself
  EXPECT_FALSE(pool_.has_room());
  EXPECT_EQ(pool_.problem(), "every attention node is full");
  pool_.update({node_info(0, 3)});  // what was assigned stays known
  EXPECT_TRUE(pool_.has_room());
  pool_.release(ServerId{0}, 900);
  pool_.release(ServerId{0}, 900);
  EXPECT_EQ(choose(), ServerId{0});
}

TEST_F(NodePoolTest, FullLastsUntilTheLoadChangesOrAWhile) {
  pool_.update({node_info(0)});
  pool_.mark_full(ServerId{0});
  EXPECT_EQ(choose(), kNoServer);
  EXPECT_EQ(pool_.next_retry(), clock_.now() + absl::Milliseconds(250));
  NodeInfo generating = node_info(0);
  generating.load.num_tokens = 99;  // always rises; it is no room
  pool_.update({generating});
  EXPECT_EQ(choose(), kNoServer);
  generating.load.num_free_pages = 1;
  pool_.update({generating});
  EXPECT_EQ(choose(), ServerId{0});
  pool_.mark_full(ServerId{0});
  clock_.advance(absl::Milliseconds(250));
  EXPECT_EQ(choose(), ServerId{0});
  EXPECT_EQ(pool_.next_retry(), absl::InfiniteFuture());
}

TEST_F(NodePoolTest, WaitsDoubleUpToALimit) {
  pool_.update({node_info(0)});
  for (const int32_t ms : {50, 100, 200, 400, 800, 1600, 2000, 2000}) {
    pool_.mark_failed(ServerId{0});
    pool_.mark_failed(ServerId{0});  // another run that died with it
    EXPECT_EQ(pool_.next_retry(), clock_.now() + absl::Milliseconds(ms));
    EXPECT_EQ(pool_.problem(), "no attention node answers");
    clock_.advance(absl::Milliseconds(ms));
    EXPECT_EQ(choose(), ServerId{0});
  }
  pool_.mark_alive(ServerId{0});
  pool_.mark_failed(ServerId{0});
  EXPECT_EQ(pool_.next_retry(), clock_.now() + absl::Milliseconds(50));
}

TEST_F(NodePoolTest, MarksOfNodesThatAreGoneAreHarmless) {
  pool_.mark_full(ServerId{5});
  pool_.mark_failed(ServerId{5});
  pool_.mark_alive(ServerId{5});
  EXPECT_EQ(pool_.problem(), "no attention node is registered");
  NodeInfo leaving = node_info(0);
  leaving.draining = true;
  pool_.update({leaving});
  EXPECT_EQ(pool_.problem(), "every attention node is draining");
}

}  // namespace
}  // namespace conclave
