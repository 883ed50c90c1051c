// What control makes of servers that say what cannot be (contract C5): each gets its own status,
// its line ends, and those who are in the cluster go on as if nothing had been.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "tests/cluster/frame_client.h"
#include "tests/cluster/hand_held_line.h"
#include "tests/cluster/sturdy_cluster.h"

namespace conclave {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;

class BadServersTest : public SturdyCluster {
 protected:
  static void SetUpTestSuite() { start(cluster_of(golden_dir("moonlight"), 1, 2)); }

  void TearDown() override {
    EXPECT_TRUE(eventually(absl::Seconds(10), [] { return !knows(address(), "stranger"); }));
    SturdyCluster::TearDown();
  }

  static void expect_refused(const std::string& what, const v1::Hello& hello, StatusCode code,
                             const std::string& word) {
    HandHeldLine line(address());
    line.say(hello);
    EXPECT_FALSE(line.hears_welcome()) << what;
    const grpc::Status end = line.wait_for_end();
    EXPECT_EQ(end.error_code(), code) << what << ": " << end.error_message();
    EXPECT_THAT(end.error_message(), HasSubstr(word)) << what;
  }

  using Spoil = std::function<void(v1::Hello*)>;
  void expect_wrong(const std::vector<std::pair<Spoil, const char*>>& cases) {
    for (const auto& [spoil, word] : cases) {
      v1::Hello hello = good_hello();
      spoil(&hello);
      expect_refused(word, hello, StatusCode::INVALID_ARGUMENT, word);
    }
  }
};

TEST_F(BadServersTest, NamesThatCannotBeAreRefused) {
  expect_wrong({
      {[](auto* hello) { hello->set_role(v1::ROLE_UNSPECIFIED); }, "role is 0"},
      {[](auto* hello) { hello->set_role(static_cast<v1::Role>(9)); }, "role is 9"},
      {[](auto* hello) { hello->clear_server_id(); }, "server_id is empty"},
      {[](auto* hello) { hello->set_server_id(std::string(129, 'a')); }, "129 bytes"},
      {[](auto* hello) { hello->set_server_id("a\nb"); }, "printable"},
      {[](auto* hello) { hello->set_server_id(std::string("a\0b", 3)); }, "printable"},
      {[](auto* hello) { hello->set_server_id("\x7f"); }, "printable"},
      {[](auto* hello) { hello->clear_address(); }, "address is \"\""},
      {[](auto* hello) { hello->set_address("nowhere"); }, "HOST:PORT"},
      {[](auto* hello) { hello->set_address(":80"); }, "HOST:PORT"},
      {[](auto* hello) { hello->set_address("a:0"); }, "HOST:PORT"},
      {[](auto* hello) { hello->set_address("a:65536"); }, "HOST:PORT"},
      {[](auto* hello) { hello->set_address("http://a:1"); }, "HOST:PORT"},
      {[](auto* hello) { hello->set_address("a b:1"); }, "HOST:PORT"},
      {[](auto* hello) { hello->set_metrics_address("x"); }, "metrics_address"},
      {[](auto* hello) { hello->set_version("1\n2"); }, "version"},
      {[](auto* hello) { hello->mutable_profile()->set_instructions("a\tb"); }, "instructions"},
  });
}

TEST_F(BadServersTest, HoldingsThatCannotBeAreRefused) {
  const auto layer = [](v1::Hello* hello) { return hello->mutable_held()->mutable_layers(0); };
  expect_wrong({
      {[](auto* hello) { hello->set_capacity_bytes(0); }, "capacity_bytes is 0"},
      {[](auto* hello) { hello->set_capacity_bytes(UINT64_MAX); }, "capacity_bytes is 18446744"},
      {[](auto* hello) { hello->set_held_bytes(2 << 20); }, "more than capacity_bytes"},
      {[](auto* hello) { hello->clear_held(); }, "held is empty"},
      {[&](auto* hello) { layer(hello)->set_layer_idx(0); }, "layer 0 has no routed experts"},
      {[&](auto* hello) { layer(hello)->set_layer_idx(-1); }, "layer -1"},
      {[&](auto* hello) { layer(hello)->set_layer_idx(3); }, "layer 3"},
      {[&](auto* hello) { layer(hello)->set_layer_idx(2); }, "layers ascend"},
      {[&](auto* hello) { layer(hello)->set_count(0, 13); }, "13 experts from 12 on"},
      {[&](auto* hello) { layer(hello)->set_count(0, 0); }, "0 experts"},
      {[&](auto* hello) { layer(hello)->set_count(0, -1); }, "-1 experts"},
      {[&](auto* hello) { layer(hello)->set_count(0, INT32_MAX); }, "2147483647 experts"},
      {[&](auto* hello) { layer(hello)->set_first(0, -12); }, "from -12 on"},
      {[&](auto* hello) { layer(hello)->set_first(0, 24); }, "from 24 on"},
      {[&](auto* hello) { layer(hello)->add_first(24); }, "2 first and 1 count"},
      {[&](auto* hello) {
         layer(hello)->add_first(20);
         layer(hello)->add_count(1);
       },
       "without touching"},
      {[](auto* hello) {
         *hello = good_node();
         hello->set_cache_tokens(0);
       },
       "cache_tokens is 0"},
      {[](auto* hello) {
         *hello = good_node();
         hello->set_cache_tokens(INT64_MAX);
       },
       "cache_tokens is 9223372036854775807"},
      {[](auto* hello) {
         *hello = good_node();
         hello->set_max_requests(-1);
       },
       "max_requests is -1"},
  });
}

TEST_F(BadServersTest, AHelloWithoutEndCostsNothing) {
  v1::Hello ranges = good_hello();
  v1::LayerExperts* const layer = ranges.mutable_held()->mutable_layers(0);
  layer->clear_first();
  layer->clear_count();
  for (int i = 0; i < 100'000; ++i) {
    layer->add_first(2 * i);
    layer->add_count(1);
  }
  expect_refused("100,000 ranges", ranges, StatusCode::INVALID_ARGUMENT, "from 24 on");
  v1::Hello layers = good_hello();
  for (int i = 0; i < 100'000; ++i) {
    *layers.mutable_held()->add_layers() = layers.held().layers(0);
  }
  expect_refused("100,000 layers", layers, StatusCode::INVALID_ARGUMENT, "layers ascend");
  v1::Hello name = good_hello();
  name.set_server_id(std::string(1 << 20, '"'));
  expect_refused("a name of 1 MiB", name, StatusCode::INVALID_ARGUMENT, "1048576 bytes");
}

TEST_F(BadServersTest, TheFirstOfTwoWithOneNameGoesOn) {
  v1::Hello hello = good_hello();
  for (const char* id : {"expert_server-0", "attention_node-0"}) {
    hello.set_server_id(id);
    expect_refused(id, hello, StatusCode::ALREADY_EXISTS, id);
    EXPECT_TRUE(knows(address(), id));
  }
  const v1::GetStatusResponse status = status_of(address());
  EXPECT_EQ(status.expert_servers_size(), 2);
  EXPECT_EQ(status.nodes_size(), 1);
}

TEST_F(BadServersTest, OtherBitsAreRefused) {
  v1::Hello hello = good_hello();
  hello.mutable_profile()->set_weights(std::string(32, '0'));
  expect_refused("weights", hello, StatusCode::FAILED_PRECONDITION, std::string(32, '0'));
  hello = good_hello();
  hello.mutable_profile()->set_instructions("sse2");
  expect_refused("instructions", hello, StatusCode::FAILED_PRECONDITION, "--allow-mixed");
  hello = good_hello();
  hello.mutable_profile()->set_kernel_version(INT32_MIN);
  expect_refused("kernels", hello, StatusCode::FAILED_PRECONDITION, "--allow-mixed");
  EXPECT_TRUE(status_of(address()).exact());
}

TEST_F(BadServersTest, WordsOutOfOrderEndTheLine) {
  HandHeldLine early(address());
  early.say(v1::Heartbeat());
  grpc::Status end = early.wait_for_end();
  EXPECT_EQ(end.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(end.error_message(), HasSubstr("before the line's hello"));

  HandHeldLine empty(address());
  empty.say_nothing();
  end = empty.wait_for_end();
  EXPECT_EQ(end.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(end.error_message(), HasSubstr("neither hello nor heartbeat"));

  HandHeldLine twice(address());
  twice.say(good_hello());
  ASSERT_TRUE(twice.hears_welcome());
  EXPECT_TRUE(knows(address(), "stranger"));
  twice.say(good_hello());
  end = twice.wait_for_end();
  EXPECT_EQ(end.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(end.error_message(), HasSubstr("second hello"));
}

// Many messages at once, of which the first already ends the line.
TEST_F(BadServersTest, WhoTalksOnIsNotHeard) {
  for (int i = 0; i < 50; ++i) {
    HandHeldLine line(address());
    line.say_nothing();
    for (int k = 0; k < 20 && line.say(good_hello()); ++k) {
    }
    EXPECT_EQ(line.wait_for_end().error_code(), StatusCode::INVALID_ARGUMENT);
  }
}

TEST_F(BadServersTest, HeartbeatsThatCannotBeTrueEndTheLine) {
  const std::pair<std::function<void(v1::Heartbeat*)>, const char*> cases[] = {
      {[](auto* beat) { beat->mutable_node()->set_num_running(-1); }, "num_running is -1"},
      {[](auto* beat) { beat->mutable_node()->set_num_waiting(INT32_MIN); }, "num_waiting"},
      {[](auto* beat) { beat->mutable_node()->set_num_free_pages(-7); }, "num_free_pages is -7"},
      {[](auto* beat) { beat->mutable_node()->set_num_tokens(INT64_MIN); }, "num_tokens"},
      {[](auto* beat) { beat->mutable_experts()->set_num_queued_legs(-1); }, "num_queued_legs"},
      {[](auto* beat) { beat->set_placement_version(-1); }, "placement_version is -1"},
      {[](auto* beat) { beat->set_placement_version(INT64_MAX); }, "placement_version"},
      {[](auto* beat) { beat->mutable_experts()->add_picks(1); }, "picks has 1 layers"},
      {[](auto* beat) {
         for (const int64_t picks : {0, 1, -1}) beat->mutable_experts()->add_picks(picks);
       },
       "negative"},
  };
  for (const auto& [spoil, word] : cases) {
    HandHeldLine line(address());
    line.say(good_hello());
    ASSERT_TRUE(line.hears_welcome()) << word;
    v1::Heartbeat beat;
    spoil(&beat);
    line.say(beat);
    const grpc::Status end = line.wait_for_end();
    EXPECT_EQ(end.error_code(), StatusCode::INVALID_ARGUMENT) << word;
    EXPECT_THAT(end.error_message(), HasSubstr(word));
    EXPECT_FALSE(knows(address(), "stranger")) << word;
  }
}

// gRPC tells a service that nothing more can be read, which is how a client says goodbye.
TEST_F(BadServersTest, BytesThatAreNoMessageEndTheLine) {
  for (const std::string& bytes : {std::string(1000, '\xff'), std::string("\x0a\x7f"),
                                   std::string("\x0a\x04\x12\x02\xff\xfe")}) {
    FrameClient client(address(), "/conclave.v1.Control/Register");
    client.write(bytes);
    EXPECT_NE(client.wait_for_end().code(), absl::StatusCode::kDeadlineExceeded);
  }
}

}  // namespace
}  // namespace conclave
