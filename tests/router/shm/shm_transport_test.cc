// What shared memory must keep, with real links:
//   - every leg gets the answer to itself, whatever the sizes and the number of servers, also when
//     the rings are full;
//   - a leg that was given up is done at once; legs away and links are limited;
//   - servers of other machines are never reached.
// Processes that die and neighbours that are rude are in shm_faults_test.cc.

#include <gtest/gtest.h>

#include "tests/router/shm/shm_fixture.h"

namespace conclave {
namespace {

using Sent = SentByShm;

class ShmTransportTest : public ShmFixture {};

TEST_F(ShmTransportTest, ManyLegsToTwoServers) {
  Engine one;
  Engine two({.max_legs_in_flight = 2, .spin = absl::Microseconds(20)});
  const auto transport = *ShmTransport::create(&clock_, {});
  transport->set_servers({{{.id = ServerId{0}, .endpoint = one.server().endpoint()},
                           {.id = ServerId{1}, .endpoint = two.server().endpoint()}}});
  ASSERT_TRUE(wait_for_link(transport.get(), ServerId{0}));
  ASSERT_TRUE(wait_for_link(transport.get(), ServerId{1}));
  for (int i = 0; i < 400; ++i) send(transport.get(), ServerId{i % 2});
  for (Sent& sent : sent_) {
    ASSERT_TRUE(status_of(transport.get(), sent).ok()) << sent.reply.status;
    expect_said(sent);
  }
  EXPECT_EQ(one.handler().num_heard(), 200);
  EXPECT_EQ(two.handler().num_heard(), 200);
}

TEST_F(ShmTransportTest, LegsThatFillTheRings) {
  Engine engine;
  const auto transport = connect(engine.server().endpoint());
  ASSERT_TRUE(wait_for_link(transport.get()));
  for (int i = 0; i < 40; ++i) {
    ArrivedLeg leg{.pick_begin = {0},
                   .hidden = {.dtype = DType::kF32, .num_rows = 400, .num_cols = 4096}};
    leg.hidden.bytes = std::vector<std::byte>(size_t{400} * 4096 * 4, std::byte{1});
    for (int32_t m = 0; m < 400; ++m) {
      leg.pick_expert.push_back(m % 7);
      leg.pick_begin.push_back(m + 1);
    }
    send(transport.get(), std::move(leg));
  }
  for (Sent& sent : sent_) {
    ASSERT_TRUE(status_of(transport.get(), sent).ok()) << sent.reply.status;
    expect_said(sent);
  }
}

TEST_F(ShmTransportTest, AServersStatusIsPassedOn) {
  Engine engine;
  const auto transport = connect(engine.server().endpoint());
  ASSERT_TRUE(wait_for_link(transport.get()));
  ArrivedLeg leg{.pick_begin = {0, 20'000},
                 .reply_type = DType::kF32,
                 .hidden = {.dtype = DType::kBF16, .num_rows = 1, .num_cols = 1000}};
  leg.pick_expert.resize(20'000);
  leg.hidden.bytes = std::vector<std::byte>(2000);
  Sent& sent = send(transport.get(), std::move(leg));
  EXPECT_EQ(status_of(transport.get(), sent).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(status_of(transport.get(), send(transport.get())).ok()) << "the link goes on";
}

TEST_F(ShmTransportTest, ALegThatIsGivenUpAndALimit) {
  Engine engine;
  const auto transport = connect(engine.server().endpoint(), {.max_legs_in_flight = 2});
  ASSERT_TRUE(wait_for_link(transport.get()));
  engine.handler().keep(true);
  Sent& first = send(transport.get());
  Sent& second = send(transport.get());
  const Sent& third = send(transport.get());
  EXPECT_EQ(third.reply.status.code(), absl::StatusCode::kResourceExhausted);
  transport->cancel(&first.reply, absl::CancelledError("enough"));
  EXPECT_EQ(first.reply.status, absl::CancelledError("enough"));
  engine.handler().wait_for_kept(2);
  engine.answer_one();
  engine.answer_one();
  ASSERT_TRUE(status_of(transport.get(), second).ok());
  expect_said(second);
  EXPECT_TRUE(first.reply.rows.empty());
}

TEST_F(ShmTransportTest, ServersOfOtherMachinesAndNone) {
  const auto transport = connect("another-boot/net:[1]/00112233445566778899aabbccddeeff");
  EXPECT_FALSE(transport->wait(clock_.now() + absl::Milliseconds(50)));
  EXPECT_FALSE(transport->reaches(kServer));
  const Sent& sent = send(transport.get());
  EXPECT_EQ(sent.reply.status, absl::UnavailableError("no shared memory with server 3"));
  for (const char* const none : {"", "/", "x", "a/b/zz", "../../etc/passwd"}) {
    transport->set_servers({{{.id = kServer, .endpoint = none}}});
    EXPECT_FALSE(transport->wait(clock_.now() + absl::Milliseconds(5)));
  }
}

TEST_F(ShmTransportTest, LinksAreLimited) {
  Engine engine({.max_links = 1});
  const auto first = connect(engine.server().endpoint());
  ASSERT_TRUE(wait_for_link(first.get()));
  const auto second = connect(engine.server().endpoint());
  EXPECT_FALSE(second->wait(clock_.now() + absl::Milliseconds(100)));
  EXPECT_FALSE(second->reaches(kServer));
  first->set_servers({});
  EXPECT_TRUE(wait_for_link(second.get())) << "there is room again";
}

}  // namespace
}  // namespace conclave
