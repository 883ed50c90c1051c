// Who joins and who does not; a name keeps its number; silence takes out; coverage and exactness
// are of who is there now, and readiness latches.

#include "gateway/membership.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/gateway/membership_fixture.h"

namespace conclave {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(MembershipTest, NamesKeepTheirNumbers) {
  const ServerId a = join(attention_node("a"));
  const ServerId b = join(expert_server("b", experts(0, 8)));
  EXPECT_NE(a, b);
  membership_.leave(a);
  const ServerId c = join(attention_node("c"));
  EXPECT_NE(c, a);
  EXPECT_NE(c, b);
  ServerFacts again = attention_node("a");
  again.incarnation = 2;
  EXPECT_EQ(join(again), a);
  ASSERT_EQ(membership_.nodes().size(), 2);
  EXPECT_EQ(membership_.nodes()[0].incarnation, 2);
}

TEST_F(MembershipTest, ALiveNameIsTaken) {
  join(attention_node("a"));
  EXPECT_EQ(refusal(attention_node("a")).code(), absl::StatusCode::kAlreadyExists);
  ServerFacts other = expert_server("a", experts(0, 8));
  other.incarnation = 77;
  EXPECT_EQ(refusal(other).code(), absl::StatusCode::kAlreadyExists);
}

TEST_F(MembershipTest, ALiveAddressIsTaken) {
  const ServerId a = join(expert_server("a", experts(0, 8)));
  ServerFacts again = expert_server("b", experts(0, 8));
  again.address = expert_server("a", experts(0, 8)).address;
  again.incarnation = 77;
  const absl::Status status = refusal(again);
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"a:50052\" is in use"));
  ServerFacts node = attention_node("c");
  node.address = again.address;
  EXPECT_EQ(refusal(node).code(), absl::StatusCode::kAlreadyExists);
  membership_.leave(a);
  join(again);
}

TEST_F(MembershipTest, WhatCannotBeTrueIsRefused) {
  EXPECT_EQ(refusal(attention_node("")).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(MembershipTest, OtherWeightsNeverJoin) {
  ServerFacts facts = attention_node("a");
  facts.profile.weights = "another";
  const absl::Status status = refusal(facts);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"another\""));
}

TEST_F(MembershipTest, AnotherProfileJoinsOnlyForExpertsThatNobodyServes) {
  join(expert_server("a", experts(0, 4)));
  ServerFacts other = expert_server("b", experts(3, 5));
  other.profile.instructions = "avx512";
  EXPECT_EQ(refusal(other).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(membership_.exact());
  other.held = experts(4, 4);
  const ServerId b = join(other);
  EXPECT_FALSE(membership_.exact());
  membership_.leave(b);
  EXPECT_TRUE(membership_.exact());
}

TEST_F(MembershipTest, NodesThatStandInForEachOtherAgree) {
  join(attention_node("a", "bf16"));
  EXPECT_EQ(refusal(attention_node("b", "f32")).code(), absl::StatusCode::kFailedPrecondition);
  // An expert server says nothing of caches, so it agrees with both.
  join(expert_server("e", experts(0, 8)));
  EXPECT_TRUE(membership_.exact());
}

TEST_F(MembershipTest, MixedClustersAreAllowedWhereSaid) {
  Membership mixed(four_layers(), &clock_, {.weights = kWeights, .allow_mixed = true});
  ASSERT_TRUE(mixed.join(attention_node("a", "bf16")).ok());
  ASSERT_TRUE(mixed.join(expert_server("e", experts(0, 8))).ok());
  EXPECT_TRUE(mixed.exact());
  ASSERT_TRUE(mixed.join(attention_node("b", "f32")).ok());
  EXPECT_FALSE(mixed.exact());
}

TEST_F(MembershipTest, LimitsHold) {
  Membership few(four_layers(), &clock_, {.weights = kWeights, .max_servers = 2, .max_names = 3});
  const ServerId a = *few.join(attention_node("a"));
  ASSERT_TRUE(few.join(attention_node("b")).ok());
  EXPECT_EQ(few.join(attention_node("c")).status().code(), absl::StatusCode::kResourceExhausted);
  few.leave(a);
  const absl::StatusOr<ServerId> c = few.join(attention_node("c"));
  ASSERT_TRUE(c.ok()) << c.status();
  few.leave(*c);
  EXPECT_EQ(few.join(attention_node("d")).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(few.join(attention_node("a")).ok());  // known names come back
}

TEST_F(MembershipTest, SilenceTakesOut) {
  const ServerId a = join(attention_node("a"));
  const ServerId e = join(expert_server("e", experts(0, 8)));
  pass(absl::Seconds(2));
  beat(a);
  pass(absl::Seconds(1));
  EXPECT_THAT(gone_, IsEmpty());  // at the limit is not over it
  const int64_t before = version();
  pass(absl::Milliseconds(500));
  EXPECT_THAT(gone_, ElementsAre(e));
  EXPECT_GT(version(), before);
  EXPECT_THAT(membership_.placement().servers, IsEmpty());
  EXPECT_EQ(membership_.heartbeat(e, {}).code(), absl::StatusCode::kNotFound);
  pass(absl::Seconds(10));
  EXPECT_THAT(gone_, ElementsAre(e, a));
}

TEST_F(MembershipTest, OurOwnAbsenceIsNobodysSilence) {
  join(attention_node("a"));
  join(expert_server("e", experts(0, 8)));
  pass(absl::Seconds(1));
  clock_.advance(absl::Seconds(30));  // this process stood still
  EXPECT_THAT(membership_.expire(), IsEmpty());
  pass(absl::Seconds(2));
  EXPECT_THAT(gone_, IsEmpty());
  pass(absl::Milliseconds(500));
  EXPECT_EQ(gone_.size(), 2);
}

TEST_F(MembershipTest, ShortLimitsCountThoughWeLookLessOften) {
  Membership brisk(four_layers(), &clock_,
                   {.weights = kWeights, .silence_limit = absl::Milliseconds(100)});
  ASSERT_TRUE(brisk.join(attention_node("a")).ok());
  clock_.advance(absl::Milliseconds(500));
  EXPECT_EQ(brisk.expire().size(), 1);
}

TEST_F(MembershipTest, CoverageIsOfNowAndReadinessLatches) {
  EXPECT_EQ(membership_.coverage().num_total, 24);
  EXPECT_EQ(membership_.coverage().num_covered, 0);
  join(expert_server("a", experts(0, 5)));
  EXPECT_EQ(membership_.coverage().num_covered, 15);
  EXPECT_EQ(membership_.coverage().missing, experts(5, 3));
  EXPECT_FALSE(membership_.ever_covered());
  const ServerId b = join(expert_server("b", experts(4, 4)));
  EXPECT_TRUE(membership_.coverage().complete());
  EXPECT_TRUE(membership_.ever_covered());
  drain(b);
  EXPECT_TRUE(membership_.coverage().complete());  // it serves until it goes
  membership_.leave(b);
  EXPECT_EQ(membership_.coverage().num_covered, 15);
  EXPECT_TRUE(membership_.ever_covered());
}

TEST_F(MembershipTest, StatusTellsWhatWasSaid) {
  const ServerId a = join(attention_node("a"));
  join(expert_server("e", experts(0, 8)));
  beat(a, {.node = {.num_running = 3, .num_free_pages = 7}});
  clock_.advance(absl::Milliseconds(1500));
  const std::vector<MemberStatus> members = membership_.members();
  ASSERT_EQ(members.size(), 2);
  EXPECT_EQ(members[0].server, a);
  EXPECT_EQ(members[0].facts->metrics_address, "a:9090");
  EXPECT_EQ(members[0].last.node.num_running, 3);
  EXPECT_EQ(members[0].silence, absl::Milliseconds(1500));
  EXPECT_EQ(members[1].facts->id, "e");
  EXPECT_EQ(membership_.nodes()[0].load.num_free_pages, 7);
}

TEST_F(MembershipTest, ImbalanceIsOfTheServersThatHoldTheLayer) {
  const ServerId a = join(expert_server("a", experts(0, 4)));
  const ServerId b = join(expert_server("b", experts(4, 4)));
  ExpertSet last_layer(4, 8);
  last_layer.insert(3, 0);
  join(expert_server("c", last_layer));
  const auto picks = [](std::vector<int64_t> counts) {
    return Heartbeat{.experts = {.picks = std::move(counts)}};
  };
  beat(a, picks({0, 500, 500, 500}));
  beat(b, picks({0, 0, 0, 0}));
  EXPECT_THAT(membership_.layer_imbalance(), ElementsAre(0, 0, 0, 0));
  beat(a, picks({0, 510, 530, 500}));
  beat(b, picks({0, 10, 10, 6}));
  EXPECT_THAT(membership_.layer_imbalance(), ElementsAre(0, 1, 1.5, 3));
  for (int32_t i = 0; i < 3; ++i) {
    clock_.advance(absl::Seconds(5));
    EXPECT_FALSE(membership_.heartbeat(ServerId{99}, {}).ok());
    beat(a, picks({0, 510, 530, 500}));
    beat(b, picks({0, 10, 10, 6}));
  }
  EXPECT_THAT(membership_.layer_imbalance(), ElementsAre(0, 0, 0, 0));
}

}  // namespace
}  // namespace conclave
