// What control tells frontends of attention nodes is what they understand, and what cannot be is
// refused.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "services/gateway/control_status.h"

namespace conclave {
namespace {

using testing::HasSubstr;

std::vector<NodeInfo> some_nodes() {
  const NodeLoad load{.num_running = 1,
                      .num_waiting = 2,
                      .num_stalled = 3,
                      .num_pages = 40,
                      .num_free_pages = 5,
                      .num_tokens = int64_t{6} << 40};
  return {{.server = ServerId{0},
           .incarnation = 7,
           .id = "a",
           .address = "h:1",
           .cache_tokens = 1,
           .max_requests = 1},
          {.server = ServerId{3},
           .incarnation = UINT64_MAX,
           .id = "b",
           .address = "[::1]:65535",
           .draining = true,
           .cache_tokens = int64_t{1} << 40,
           .max_requests = 9,
           .load = load}};
}

TEST(NodeNewsTest, ComesThroughUnchanged) {
  const SystemClock clock;
  ClusterState state({.clock = &clock});
  const std::vector<NodeInfo> nodes = some_nodes();
  state.nodes_changed(nodes, {.ready = true, .covered = false, .problem = "no server"});
  const v1::NodesUpdate update = nodes_update(state);
  EXPECT_TRUE(update.ready());
  EXPECT_FALSE(update.covered());
  EXPECT_EQ(update.problem(), "no server");
  const auto read = nodes_from(update);
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->size(), nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    EXPECT_EQ((*read)[i].server, nodes[i].server);
    EXPECT_EQ((*read)[i].incarnation, nodes[i].incarnation);
    EXPECT_EQ((*read)[i].id, nodes[i].id);
    EXPECT_EQ((*read)[i].address, nodes[i].address);
    EXPECT_EQ((*read)[i].draining, nodes[i].draining);
    EXPECT_EQ((*read)[i].cache_tokens, nodes[i].cache_tokens);
    EXPECT_EQ((*read)[i].max_requests, nodes[i].max_requests);
    EXPECT_EQ((*read)[i].load, nodes[i].load);
  }
}

// Changes the second of some_nodes() and says what comes of it.
std::string refusal(const std::function<void(v1::PlacedNode*)>& change) {
  const SystemClock clock;
  ClusterState state({.clock = &clock});
  state.nodes_changed(some_nodes(), {});
  v1::NodesUpdate update = nodes_update(state);
  change(update.mutable_nodes(1));
  const absl::Status status = nodes_from(update).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  return std::string(status.message());
}

TEST(NodeNewsTest, WhatCannotBeIsRefused) {
  EXPECT_THAT(refusal([](auto* node) { node->set_server_no(0); }),
              HasSubstr("do not ascend at number 0"));
  EXPECT_THAT(refusal([](auto* node) { node->set_address("nowhere"); }), HasSubstr("HOST:PORT"));
  EXPECT_THAT(refusal([](auto* node) { node->clear_server_id(); }),
              HasSubstr("node number 3: server_id is empty"));
  EXPECT_THAT(refusal([](auto* node) { node->clear_cache_tokens(); }),
              HasSubstr("node number 3: cache_tokens is 0"));
  EXPECT_THAT(refusal([](auto* node) { node->set_cache_tokens(INT64_MAX); }),
              HasSubstr("cache_tokens is"));
  EXPECT_THAT(refusal([](auto* node) { node->set_max_requests(-1); }),
              HasSubstr("max_requests is -1"));
  EXPECT_THAT(refusal([](auto* node) { node->mutable_load()->set_num_free_pages(-3); }),
              HasSubstr("num_free_pages is -3"));
}

TEST(NodeNewsTest, NumbersBeginAtZero) {
  const SystemClock clock;
  ClusterState state({.clock = &clock});
  state.nodes_changed(some_nodes(), {});
  v1::NodesUpdate update = nodes_update(state);
  update.mutable_nodes(0)->set_server_no(-1);
  EXPECT_THAT(nodes_from(update).status().ToString(), HasSubstr("server_no is -1"));
}

}  // namespace
}  // namespace conclave
