// Invariants: what is encoded is decoded to the same value, also over the bytes of the wire; what
// cannot be true of the model is INVALID_ARGUMENT, and decoding it costs no more than the model.

#include "services/server/control_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/services/server/small_config.h"

namespace conclave {
namespace {

using testing::HasSubstr;

constexpr int32_t kMax = INT32_MAX;
constexpr int32_t kMin = INT32_MIN;

// Through the bytes of the wire.
template <typename Message>
Message travel(const Message& message) {
  Message arrived;
  EXPECT_TRUE(arrived.ParseFromString(message.SerializeAsString()));
  return arrived;
}

ExpertSet some_experts() {
  ExpertSet set(4, 8);
  for (const int32_t expert : {0, 1, 2, 4, 7}) set.insert(1, expert);
  for (int32_t expert = 0; expert < 8; ++expert) set.insert(3, expert);
  return set;
}

TEST(ControlCodecTest, ExpertSetsComeBack) {
  for (const ExpertSet& set : {ExpertSet(4, 8), some_experts(), ExpertSet::all(small_config())}) {
    v1::ExpertSet message;
    to_proto(set, &message);
    const absl::StatusOr<ExpertSet> back = from_proto(travel(message), small_config());
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, set);
  }
}

TEST(ControlCodecTest, AnEmptyMessageIsTheEmptySet) {
  const absl::StatusOr<ExpertSet> set = from_proto(v1::ExpertSet(), small_config());
  ASSERT_TRUE(set.ok());
  EXPECT_EQ(*set, ExpertSet(4, 8));
}

struct Ranges {
  int32_t layer_idx;
  std::vector<int32_t> first;
  std::vector<int32_t> count;
};

struct BadSet {
  const char* name;
  std::vector<Ranges> layers;
  const char* word;
};

const BadSet kBadSets[] = {
    {"LayerAbove", {{4, {0}, {1}}}, "layer 4"},
    {"LayerFarAbove", {{kMax, {0}, {1}}}, "layer 2147483647"},
    {"LayerBelow", {{-1, {0}, {1}}}, "layer -1"},
    {"LayerFarBelow", {{kMin, {0}, {1}}}, "layer -2147483648"},
    {"DenseLayer", {{0, {0}, {1}}}, "layer 0 has no routed experts"},
    {"LayerTwice", {{1, {0}, {1}}, {1, {2}, {1}}}, "ascend"},
    {"LayersDescend", {{2, {0}, {1}}, {1, {0}, {1}}}, "ascend"},
    {"CountMissing", {{1, {0, 4}, {1}}}, "2 first and 1 count"},
    {"FirstMissing", {{1, {}, {1}}}, "0 first and 1 count"},
    {"NoExperts", {{1, {2}, {0}}}, "0 experts"},
    {"NegativeCount", {{1, {2}, {-1}}}, "-1 experts"},
    {"CountFarBelow", {{1, {2}, {kMin}}}, "range 0"},
    {"ReachesOut", {{1, {7}, {2}}}, "2 experts from 7"},
    {"ReachesFarOut", {{1, {1}, {kMax}}}, "2147483647 experts from 1"},
    {"Overflows", {{1, {kMax}, {kMax}}}, "range 0"},
    {"FirstAbove", {{1, {8}, {1}}}, "from 8"},
    {"FirstBelow", {{1, {-1}, {2}}}, "from -1"},
    {"FirstFarBelow", {{1, {kMin}, {kMax}}}, "range 0"},
    {"Overlap", {{1, {0, 1}, {2, 2}}}, "range 1"},
    {"Touch", {{1, {0, 2}, {2, 2}}}, "range 1"},
    {"RangesDescend", {{1, {4, 0}, {1, 1}}}, "range 1"},
};

class BadSetTest : public testing::TestWithParam<BadSet> {};

v1::ExpertSet message_of(const BadSet& bad) {
  v1::ExpertSet message;
  for (const Ranges& ranges : bad.layers) {
    v1::LayerExperts* const layer = message.add_layers();
    layer->set_layer_idx(ranges.layer_idx);
    layer->mutable_first()->Assign(ranges.first.begin(), ranges.first.end());
    layer->mutable_count()->Assign(ranges.count.begin(), ranges.count.end());
  }
  return message;
}

TEST_P(BadSetTest, IsRefusedInWords) {
  const absl::Status status = from_proto(message_of(GetParam()), small_config()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().word));
}

TEST_P(BadSetTest, IsRefusedWhereItIsHeld) {
  v1::Hello hello;
  hello.set_role(v1::ROLE_EXPERT_SERVER);
  *hello.mutable_held() = message_of(GetParam());
  EXPECT_EQ(from_proto(hello, small_config()).status().code(), absl::StatusCode::kInvalidArgument);

  v1::PlacementUpdate update;
  update.add_servers()->set_address("a:1");
  *update.mutable_servers(0)->mutable_held() = message_of(GetParam());
  EXPECT_EQ(from_proto(update, small_config()).status().code(), absl::StatusCode::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Sets, BadSetTest, testing::ValuesIn(kBadSets),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(ControlCodecTest, HellosComeBack) {
  const ServerFacts facts{.role = ServerRole::kExpertServer,
                          .id = "expert-3",
                          .incarnation = UINT64_MAX,
                          .address = "10.0.0.3:7000",
                          .metrics_address = "10.0.0.3:7001",
                          .profile = {.weights = "w",
                                      .weight_type = "stored",
                                      .kernel_version = 3,
                                      .instructions = "avx2",
                                      .trunk_type = "head=int8",
                                      .wire_out = "bf16",
                                      .wire_back = "f32",
                                      .cache_type = "f32",
                                      .attention_form = "absorbed"},
                          .version = "0.1.0",
                          .capacity_bytes = uint64_t{1} << 40,
                          .held_bytes = 77,
                          .held = some_experts(),
                          .shm_endpoint = "boot/net/ab",
                          .managed = true,
                          .expert_bytes = 78,
                          .cache_tokens = int64_t{1} << 33,
                          .max_requests = 9};
  v1::Hello message;
  to_proto(facts, &message);
  const absl::StatusOr<ServerFacts> back = from_proto(travel(message), small_config());
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->role, facts.role);
  EXPECT_EQ(back->id, facts.id);
  EXPECT_EQ(back->incarnation, facts.incarnation);
  EXPECT_EQ(back->address, facts.address);
  EXPECT_EQ(back->metrics_address, facts.metrics_address);
  EXPECT_EQ(back->profile, facts.profile);
  EXPECT_EQ(back->version, facts.version);
  EXPECT_EQ(back->capacity_bytes, facts.capacity_bytes);
  EXPECT_EQ(back->held_bytes, facts.held_bytes);
  EXPECT_EQ(back->held, facts.held);
  EXPECT_EQ(back->shm_endpoint, facts.shm_endpoint);
  EXPECT_EQ(back->managed, facts.managed);
  EXPECT_EQ(back->expert_bytes, facts.expert_bytes);
  EXPECT_EQ(back->cache_tokens, facts.cache_tokens);
  EXPECT_EQ(back->max_requests, facts.max_requests);
}

TEST(ControlCodecTest, UnknownRolesAreRefused) {
  for (const int role : {0, 3, -1, 1 << 30}) {
    v1::Hello hello;
    hello.set_role(static_cast<v1::Role>(role));
    EXPECT_EQ(from_proto(travel(hello), small_config()).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(ControlCodecTest, HeartbeatsComeBack) {
  const Heartbeat beat{.draining = true,
                       .placement_version = 12,
                       .node = {1, 2, 3, 4, 5, int64_t{1} << 40},
                       .experts = {.num_queued_legs = 6, .picks = {0, 7, int64_t{1} << 50, 9}},
                       .holding = Holding{.held = some_experts(),
                                          .held_bytes = 5,
                                          .order = 6,
                                          .problem = "no room",
                                          .picks = {1, 2, int64_t{1} << 50}}};
  v1::Heartbeat message;
  to_proto(beat, &message);
  const absl::StatusOr<Heartbeat> back = from_proto(travel(message), small_config());
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(back->draining);
  EXPECT_EQ(back->placement_version, 12);
  EXPECT_EQ(back->node, beat.node);
  EXPECT_EQ(back->experts.num_queued_legs, 6);
  EXPECT_EQ(back->experts.picks, beat.experts.picks);
  EXPECT_EQ(back->holding, beat.holding);
}

TEST(ControlCodecTest, OrdersComeBack) {
  const ExpertOrder order{.order = int64_t{1} << 40, .hold = some_experts()};
  v1::ExpertOrder message;
  to_proto(order, &message);
  const absl::StatusOr<ExpertOrder> back = from_proto(travel(message), small_config());
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, order);
}

TEST(ControlCodecTest, PlacementsComeBack) {
  const ClusterView view{.version = 99,
                         .servers = {{ServerId{0}, "a", "h:1", "boot/net/ab", some_experts(), true},
                                     {ServerId{kMax - 1}, "b", "h:2", "", ExpertSet(4, 8), false}}};
  v1::PlacementUpdate message;
  to_proto(view, &message);
  const absl::StatusOr<ClusterView> back = from_proto(travel(message), small_config());
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, view);
}

TEST(ControlCodecTest, PlacementsWithServersOutOfOrderAreRefused) {
  for (const std::vector<int32_t>& numbers :
       {std::vector<int32_t>{-1}, {1, 1}, {2, 1}, {kMin}, {kMax}}) {
    v1::PlacementUpdate message;
    for (const int32_t number : numbers) {
      message.add_servers()->set_server_no(number);
      message.mutable_servers()->rbegin()->set_address("h:1");
    }
    EXPECT_EQ(from_proto(message, small_config()).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  v1::PlacementUpdate nowhere;
  nowhere.add_servers();
  EXPECT_THAT(std::string(from_proto(nowhere, small_config()).status().message()),
              HasSubstr("server 0 has no address"));
}

}  // namespace
}  // namespace conclave
