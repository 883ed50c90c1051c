// What the loopback must keep:
//   - a leg reaches the server it names, unchanged, and nobody else;
//   - a leg to a server that is not there is done at once, UNAVAILABLE, naming the server;
//   - after wait() every reply is done;
//   - a reply that is used again says what its last leg was answered.

#include "router/transport_loopback.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/router/fake_expert_server.h"

namespace conclave {
namespace {

using testing::HasSubstr;

class LoopbackTransportTest : public testing::Test {
 protected:
  LoopbackTransportTest() {
    transport_.add_server(ServerId{0}, &servers_[0]);
    transport_.add_server(ServerId{5}, &servers_[1]);
  }

  LegRequest leg_to(int32_t server) const {
    return {.server = ServerId{server},
            .layer_idx = 3,
            .placement_version = 8,
            .pick_begin = pick_begin_,
            .pick_expert = pick_expert_,
            .row_type = DType::kF32,
            .num_cols = 2,
            .rows = SharedBytes::copy_of(std::as_bytes(std::span(rows_))),
            .reply_type = DType::kF32};
  }

  std::vector<float> floats_of(const LegReply& reply) const {
    Matrix<float> rows(static_cast<int32_t>(reply.rows.size()) / 8, 2);
    unpack_rows(reply.rows.data(), DType::kF32, rows.view());
    return {rows.row(0), rows.row(0) + reply.rows.size() / 4};
  }

  const std::vector<int32_t> pick_begin_ = {0, 1, 3};
  const std::vector<int32_t> pick_expert_ = {1, 0, 2};
  const std::vector<float> rows_ = {1.f, 2.f, 3.f, 4.f};
  FakeExpertServer servers_[2];
  LoopbackTransport transport_;
};

TEST_F(LoopbackTransportTest, ALegReachesTheServerItNames) {
  LegReply reply;
  transport_.send(leg_to(5), &reply);
  EXPECT_FALSE(reply.done);
  static_cast<void>(transport_.wait(absl::InfiniteFuture()));
  ASSERT_TRUE(reply.done);
  ASSERT_TRUE(reply.status.ok()) << reply.status;
  EXPECT_EQ(floats_of(reply), (std::vector<float>{2.f, 4.f, 3.f, 4.f, 9.f, 12.f}));

  EXPECT_TRUE(servers_[0].heard.empty());
  ASSERT_EQ(servers_[1].heard.size(), 1u);
  EXPECT_EQ(servers_[1].heard[0].layer_idx, 3);
  EXPECT_EQ(servers_[1].heard[0].placement_version, 8);
}

TEST_F(LoopbackTransportTest, AnUnknownServerIsUnavailable) {
  LegReply reply;
  transport_.send(leg_to(1), &reply);
  EXPECT_TRUE(reply.done);
  EXPECT_TRUE(absl::IsUnavailable(reply.status)) << reply.status;
  EXPECT_THAT(std::string(reply.status.message()), HasSubstr("server 1"));
  static_cast<void>(transport_.wait(absl::InfiniteFuture()));
  EXPECT_TRUE(absl::IsUnavailable(reply.status));
}

TEST_F(LoopbackTransportTest, WaitingForNothingSaysSo) {
  EXPECT_FALSE(transport_.wait(absl::InfiniteFuture()));
}

TEST_F(LoopbackTransportTest, EveryReplyIsDoneAfterWait) {
  LegReply replies[4];
  const int32_t servers[] = {0, 5, 1, 0};
  for (int i = 0; i < 4; ++i) transport_.send(leg_to(servers[i]), &replies[i]);
  static_cast<void>(transport_.wait(absl::InfiniteFuture()));
  for (const LegReply& reply : replies) EXPECT_TRUE(reply.done);
  EXPECT_TRUE(absl::IsUnavailable(replies[2].status));
  EXPECT_TRUE(replies[3].status.ok());
}

TEST_F(LoopbackTransportTest, AReplyUsedAgainSaysItsLastLeg) {
  LegReply reply;
  transport_.send(leg_to(1), &reply);
  static_cast<void>(transport_.wait(absl::InfiniteFuture()));
  ASSERT_FALSE(reply.status.ok());

  transport_.send(leg_to(0), &reply);
  EXPECT_FALSE(reply.done) << "done of the leg before";
  static_cast<void>(transport_.wait(absl::InfiniteFuture()));
  EXPECT_TRUE(reply.status.ok()) << reply.status;

  servers_[0].tricks.status = absl::AbortedError("tired");
  transport_.send(leg_to(0), &reply);
  static_cast<void>(transport_.wait(absl::InfiniteFuture()));
  EXPECT_TRUE(absl::IsAborted(reply.status));
}

TEST_F(LoopbackTransportTest, ALaterServerTakesThePlaceOfAnEarlier) {
  transport_.add_server(ServerId{0}, &servers_[1]);
  LegReply reply;
  transport_.send(leg_to(0), &reply);
  EXPECT_TRUE(servers_[0].heard.empty());
  EXPECT_EQ(servers_[1].heard.size(), 1u);
  static_cast<void>(transport_.wait(absl::InfiniteFuture()));
}

}  // namespace
}  // namespace conclave
