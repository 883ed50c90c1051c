// What a server says of itself is refused where it cannot be true, naming the field and the value;
// what is at the edge of the possible is taken.

#include "gateway/server_facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "gateway/names.h"
#include "tests/gateway/fake_cluster.h"

namespace conclave {
namespace {

using testing::HasSubstr;

const ExpertSet kAll = ExpertSet::all(four_layers());

void expect_refused(const ServerFacts& facts, const std::string& words) {
  const absl::Status status = check_facts(facts, kAll);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(words));
}

void expect_taken(const ServerFacts& facts) {
  EXPECT_TRUE(check_facts(facts, kAll).ok()) << check_facts(facts, kAll);
}

TEST(ServerFacts, OrdinaryServersPass) {
  expect_taken(expert_server("e-0", experts(0, 8)));
  expect_taken(expert_server("e-0", experts(7, 1)));
  expect_taken(attention_node("a-0"));
}

TEST(ServerFacts, NamesArePrintableAndShort) {
  expect_refused(attention_node(""), "server_id is empty");
  expect_refused(attention_node("a\nb"), "server_id is \"a\\nb\"");
  expect_refused(attention_node(std::string("a\0b", 3)), "server_id is \"a\\x00\\x62\"");
  expect_refused(attention_node("\x7f"), "printable");
  expect_refused(attention_node("caf\xc3\xa9"), "printable");
  ServerFacts facts = attention_node("a");
  facts.id = std::string(129, 'x');
  expect_refused(facts, "129 bytes, must be at most 128");
  facts.id.pop_back();
  expect_taken(facts);
}

TEST(ServerFacts, AddressesAreHostAndPort) {
  for (const std::string bad :
       {"", "host", "host:", ":1", "host:0", "host:65536", "host:-1", "host:1x", "a b:1", "::1:80",
        "[]:80", "[::1:80", "a/b:1", "h:+1", "h:99999999999999999999"}) {
    ServerFacts facts = attention_node("a");
    facts.address = bad;
    expect_refused(facts, "address is \"" + bad + "\"");
    if (bad.empty()) continue;
    facts = attention_node("a");
    facts.metrics_address = bad;
    expect_refused(facts, "metrics_address is \"" + bad + "\"");
  }
  for (const std::string good : {"host:1", "10.0.0.1:65535", "[::1]:80", "a-0.svc.local:50051"}) {
    ServerFacts facts = attention_node("a");
    facts.address = good;
    facts.metrics_address = "";
    expect_taken(facts);
  }
}

TEST(ServerFacts, ExpertServersHoldWhatFits) {
  ServerFacts facts = expert_server("e", experts(0, 8));
  facts.held_bytes = facts.capacity_bytes + 1;
  expect_refused(facts, "held_bytes is 1048577");
  facts.held_bytes = facts.capacity_bytes;
  expect_taken(facts);
  facts.held_bytes = 0;
  facts.capacity_bytes = 0;
  expect_refused(facts, "capacity_bytes is 0");
  facts.capacity_bytes = uint64_t{1} << 50;
  expect_taken(facts);
  ++facts.capacity_bytes;
  expect_refused(facts, "capacity_bytes is");
}

TEST(ServerFacts, ExpertsAreOfTheModel) {
  expect_refused(expert_server("e", ExpertSet()), "held is empty");
  expect_refused(expert_server("e", ExpertSet(4, 8)), "held is empty");
  ExpertSet other(5, 8);
  other.insert(1, 1);
  expect_refused(expert_server("e", other), "5 layers with 8 experts, the model has 4 with 8");
  ExpertSet dense(4, 8);
  dense.insert(0, 3);
  expect_refused(expert_server("e", dense), "layer 0");
}

TEST(ServerFacts, NodesHaveRoom) {
  ServerFacts facts = attention_node("a");
  facts.cache_tokens = 0;
  expect_refused(facts, "cache_tokens is 0");
  facts = attention_node("a");
  facts.max_requests = -1;
  expect_refused(facts, "max_requests is -1");
  facts = attention_node("a");
  facts.profile.cache_type = "a\tb";
  expect_refused(facts, "profile.cache_type");
}

TEST(Heartbeat, CountsAreCounts) {
  const auto status_of = [](const std::function<void(Heartbeat*)>& change) {
    Heartbeat beat;
    change(&beat);
    return check_heartbeat(beat, 4);
  };
  EXPECT_TRUE(status_of([](Heartbeat*) {}).ok());
  EXPECT_TRUE(status_of([](Heartbeat* b) { b->experts.picks = {0, 1, 2, 3}; }).ok());
  for (const absl::Status& status : {
           status_of([](Heartbeat* b) { b->node.num_running = -1; }),
           status_of([](Heartbeat* b) { b->node.num_tokens = -5; }),
           status_of([](Heartbeat* b) { b->experts.num_queued_legs = -1; }),
           status_of([](Heartbeat* b) {
             b->experts.picks = {1, 2};
           }),
           status_of([](Heartbeat* b) {
             b->experts.picks = {1, 2, -3, 4};
           }),
           status_of([](Heartbeat* b) { b->placement_version = -1; }),
           status_of(
               [](Heartbeat* b) { b->placement_version = std::numeric_limits<int64_t>::max(); }),
       }) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  }
}

TEST(Names, QuotesAreEscapedAndCut) {
  EXPECT_EQ(in_quotes("a\"b\x01"), "\"a\\\"b\\x01\"");
  EXPECT_EQ(in_quotes(std::string(500, 'x')), "\"" + std::string(160, 'x') + "...\"");
}

}  // namespace
}  // namespace conclave
