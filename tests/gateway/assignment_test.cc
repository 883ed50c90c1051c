// The node with the least load for its size takes the request: never one that is closed, has all
// the requests it may have, or a cache shorter than the request. What no node could ever take is
// RESOURCE_EXHAUSTED; what no node can take now waits.

#include "gateway/assignment.h"

#include <gtest/gtest.h>

#include <vector>

namespace conclave {
namespace {

NodeState node(int32_t id, int64_t outstanding_tokens = 0, int32_t num_requests = 0) {
  return {.server = ServerId{id},
          .cache_tokens = 1000,
          .max_requests = 4,
          .outstanding_tokens = outstanding_tokens,
          .num_requests = num_requests};
}

void expect_chosen(const std::vector<NodeState>& nodes, ServerId expected, int64_t tokens = 10) {
  const absl::StatusOr<ServerId> chosen = choose_node(nodes, tokens);
  ASSERT_TRUE(chosen.ok()) << chosen.status();
  EXPECT_EQ(*chosen, expected);
}

TEST(Assignment, TheLeastLoadedTakesIt) {
  expect_chosen({node(0, 30, 1), node(1, 20, 3), node(2, 25, 1)}, ServerId{1});
}

TEST(Assignment, LoadIsAgainstTheCache) {
  std::vector<NodeState> nodes = {node(0, 100, 1), node(1, 150, 1)};
  nodes[1].cache_tokens = 2000;
  expect_chosen(nodes, ServerId{1});
  nodes[1].outstanding_tokens = 250;
  expect_chosen(nodes, ServerId{0});
}

TEST(Assignment, ComparesHugeLoadsExactly) {
  std::vector<NodeState> nodes = {node(0), node(1)};
  for (NodeState& state : nodes) state.cache_tokens = int64_t{1} << 40;
  nodes[0].outstanding_tokens = (int64_t{1} << 60) + 1;
  nodes[1].outstanding_tokens = int64_t{1} << 60;
  expect_chosen(nodes, ServerId{1});
}

TEST(Assignment, TiesGoToFewerRequestsThenToTheLowerId) {
  expect_chosen({node(0, 20, 2), node(1, 20, 1)}, ServerId{1});
  expect_chosen({node(7, 20, 1), node(3, 20, 1)}, ServerId{3});
}

TEST(Assignment, ClosedAndCrowdedNodesAreLeftOut) {
  std::vector<NodeState> nodes = {node(0), node(1, 500, 3)};
  nodes[0].open = false;
  expect_chosen(nodes, ServerId{1});
  nodes[1].num_requests = 4;
  expect_chosen(nodes, kNoServer);
}

TEST(Assignment, TheCacheHoldsTheWholeRequest) {
  std::vector<NodeState> nodes = {node(0), node(1, 900, 2)};
  nodes[0].cache_tokens = 99;
  expect_chosen(nodes, ServerId{1}, 100);
  expect_chosen(nodes, ServerId{0}, 99);
}

TEST(Assignment, OneThatIsLongerThanAnyCacheIsRefused) {
  EXPECT_TRUE(choose_node(std::vector{node(0), node(1)}, 1000).ok());
  const absl::Status status = choose_node(std::vector{node(0), node(1)}, 1001).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(),
            "prompt and max_tokens make 1001 ids to compute and the whole cache holds 1000");
}

TEST(Assignment, OneThatOnlyAClosedNodeCouldTakeWaits) {
  std::vector<NodeState> nodes = {node(0), node(1)};
  nodes[0].cache_tokens = 10;
  nodes[1].open = false;
  expect_chosen(nodes, kNoServer, 100);
  expect_chosen({}, kNoServer, 100);
}

}  // namespace
}  // namespace conclave
