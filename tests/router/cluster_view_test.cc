// A view as a table: everybody who holds an expert is there, in ascending order, and those that
// drain come last, so that an expert's home drains only where nobody else holds it.

#include "router/cluster_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace conclave {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

PlacedServer server(int32_t id, std::vector<std::pair<int32_t, int32_t>> held, bool draining) {
  PlacedServer placed{.server = ServerId{id}, .held = ExpertSet(2, 4), .draining = draining};
  for (const auto& [layer, expert] : held) placed.held.insert(layer, expert);
  return placed;
}

TEST(ClusterView, DrainingHoldersComeLast) {
  const ClusterView view{.version = 9,
                         .servers = {server(0, {{0, 1}, {1, 0}, {1, 1}}, /*draining=*/true),
                                     server(3, {{1, 0}, {1, 2}}, /*draining=*/false),
                                     server(5, {{1, 0}, {0, 3}}, /*draining=*/false)}};
  const Placement placement = placement_of(view, 2, 4);
  EXPECT_EQ(placement.version(), 9);
  EXPECT_THAT(placement.holders(1, 0), ElementsAre(ServerId{3}, ServerId{5}, ServerId{0}));
  EXPECT_THAT(placement.holders(1, 3), IsEmpty());
  EXPECT_EQ(placement.num_steady(1, 0), 2u);
  EXPECT_EQ(placement.num_steady(1, 1), 0u);
}

TEST(ClusterView, AnEmptyViewHoldsNothing) {
  const Placement placement = placement_of({.version = 2}, 2, 4);
  EXPECT_THAT(placement.servers(), IsEmpty());
  const ClusterView view{.servers = {{.server = ServerId{1}}}};  // a set without a shape
  EXPECT_THAT(placement_of(view, 2, 4).holders(0, 0), IsEmpty());
}

}  // namespace
}  // namespace conclave
