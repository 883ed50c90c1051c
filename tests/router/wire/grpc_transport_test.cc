// What the transport must keep, with real servers and streams:
//   - every leg gets the answer to itself, on both lanes, whatever the order of answers;
//   - a leg whose server is unknown, not there, killed or dropped is UNAVAILABLE, naming it, and
//     the stream is there again some time after the server is;
//   - a leg that was given up is done at once, its late answer is dropped and counted;
//   - over its limit a leg is RESOURCE_EXHAUSTED at once, and the other lane does not care.
// Servers that misbehave are in grpc_transport_faults_test.cc.

#include "router/wire/grpc_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/router/wire/transport_fixture.h"

namespace conclave {
namespace {

using testing::HasSubstr;

class GrpcTransportTest : public TransportFixture {};

TEST_F(GrpcTransportTest, ManyLegsOverBothLanesOfTwoServers) {
  SpeakingHandler other_handler;
  LegService other_service(&other_handler, {.max_legs_in_flight = 2});
  WireServer other_server(other_service.service());
  GrpcTransport transport(&clock_, {});
  transport.set_servers({{{.id = ServerId{0}, .address = server_.address()},
                          {.id = ServerId{1}, .address = other_server.address()}}});
  for (int i = 0; i < 400; ++i) {
    send(&transport, ServerId{i % 2}, i % 3 == 0 ? Lane::kPrefill : Lane::kDecode);
  }
  for (Sent& sent : sent_) {
    ASSERT_TRUE(status_of(&transport, sent).ok());
    expect_said(sent);
  }
  EXPECT_EQ(handler_.num_heard(), 200);
  EXPECT_EQ(other_handler.num_heard(), 200);
  EXPECT_EQ(service_.num_streams(), 2);
  EXPECT_EQ(transport.counters().num_dropped_answers, 0u);
  EXPECT_EQ(transport.counters().num_lost_streams, 0u);
}

TEST_F(GrpcTransportTest, AnswersMayOvertakeEachOther) {
  const auto transport = connect();
  handler_.keep(true);
  std::vector<SpeakingHandler::Kept> kept;
  for (int i = 0; i < 5; ++i) {
    send(transport.get());
    kept.push_back(handler_.take(transport.get()));
  }
  for (int i = 4; i >= 0; --i) {
    kept[static_cast<size_t>(i)].answer();
    ASSERT_TRUE(transport->wait(absl::InfiniteFuture()));
    expect_said(*std::next(sent_.begin(), i));
    for (int other = 0; other < i; ++other) {
      EXPECT_FALSE(std::next(sent_.begin(), other)->reply.done);
    }
  }
}

TEST_F(GrpcTransportTest, AServersStatusIsPassedOn) {
  const auto transport = connect();
  handler_.keep(true);
  Sent& sent = send(transport.get());
  handler_.take(transport.get()).done(absl::NotFoundError("expert 7 lives elsewhere"));
  EXPECT_EQ(status_of(transport.get(), sent), absl::NotFoundError("expert 7 lives elsewhere"));
}

TEST_F(GrpcTransportTest, AKilledServerLosesItsLegsAndComesBack) {
  const auto transport = connect({.reconnect = {.first = absl::Seconds(1)}});
  handler_.keep(true);
  Sent& sent = send(transport.get());
  const SpeakingHandler::Kept kept = handler_.take(transport.get());
  const int port = server_.port();
  server_.stop();
  EXPECT_EQ(status_of(transport.get(), sent).code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(sent.reply.status.message()), HasSubstr(server_.address()));
  kept.answer();  // to nobody

  Sent& next = send(transport.get());
  EXPECT_TRUE(next.reply.done);  // at once: it is known to be down
  EXPECT_EQ(next.reply.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(next.reply.status.message()), HasSubstr("down for"));

  handler_.keep(false);
  LegService again(&handler_, {});
  WireServer server(again.service(), port);
  expect_comes_back(transport.get());
  EXPECT_GE(transport->counters().num_lost_streams, 1u);
}

TEST_F(GrpcTransportTest, AServerThatIsNotThereYet) {
  const int port = server_.port();
  server_.stop();
  const auto transport = connect();
  Sent& sent = send(transport.get());
  EXPECT_EQ(status_of(transport.get(), sent).code(), absl::StatusCode::kUnavailable);
  LegService again(&handler_, {});
  WireServer server(again.service(), port);
  expect_comes_back(transport.get());
}

TEST_F(GrpcTransportTest, ALegThatIsGivenUp) {
  const auto transport = connect();
  handler_.keep(true);
  Sent& sent = send(transport.get());
  const SpeakingHandler::Kept kept = handler_.take(transport.get());
  transport->cancel(&sent.reply, absl::CancelledError("enough"));
  EXPECT_TRUE(sent.reply.done);
  EXPECT_EQ(sent.reply.status, absl::CancelledError("enough"));
  kept.answer();
  transport->cancel(&sent.reply, absl::InternalError("no effect"));
  handler_.keep(false);
  Sent& next = send(transport.get());
  ASSERT_TRUE(status_of(transport.get(), next).ok());
  expect_said(next);
  EXPECT_EQ(sent.reply.status, absl::CancelledError("enough"));
  EXPECT_TRUE(sent.reply.rows.empty());
  EXPECT_EQ(transport->counters().num_dropped_answers, 1u);
}

TEST_F(GrpcTransportTest, Deadlines) {
  const auto transport = connect();
  handler_.keep(true);
  Sent& sent = send(transport.get());
  const SpeakingHandler::Kept kept = handler_.take(transport.get());
  EXPECT_FALSE(transport->wait(absl::InfinitePast()));
  const absl::Time before = clock_.now();
  EXPECT_FALSE(transport->wait(before + absl::Milliseconds(30)));
  EXPECT_GE(clock_.now() - before, absl::Milliseconds(30));
  EXPECT_EQ(status_of(transport.get(), sent, clock_.now() + absl::Milliseconds(5)).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(transport->wait(clock_.now() + absl::Milliseconds(5)));  // nothing is away
  kept.answer();
}

TEST_F(GrpcTransportTest, LegsInFlightAreLimited) {
  const auto transport = connect({.max_legs_in_flight = 4});
  handler_.keep(true);
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(send(transport.get()).reply.done);
  const Sent& over = send(transport.get());
  EXPECT_TRUE(over.reply.done);
  EXPECT_EQ(over.reply.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(over.reply.status.message()), HasSubstr("4 legs"));
  Sent& other_lane = send(transport.get(), kServer, Lane::kPrefill);
  for (int i = 0; i < 5; ++i) handler_.take(transport.get()).answer();
  ASSERT_TRUE(status_of(transport.get(), other_lane).ok());
  handler_.keep(false);
  for (Sent& sent : sent_) status_of(transport.get(), sent);
  expect_said(sent_.front());
  Sent& next = send(transport.get());
  EXPECT_TRUE(status_of(transport.get(), next).ok());
}

TEST_F(GrpcTransportTest, ServersComeGoAndMove) {
  GrpcTransport transport(&clock_, {});
  const Sent& unknown = send(&transport);
  EXPECT_TRUE(unknown.reply.done);
  EXPECT_EQ(unknown.reply.status, absl::UnavailableError("there is no expert server 3"));

  transport.set_servers({{{.id = kServer, .address = server_.address()}}});
  handler_.keep(true);
  Sent& away = send(&transport);
  const SpeakingHandler::Kept kept = handler_.take(&transport);
  SpeakingHandler other_handler;
  LegService other_service(&other_handler, {});
  WireServer other_server(other_service.service());
  transport.set_servers({{{.id = kServer, .address = other_server.address()}}});
  EXPECT_TRUE(away.reply.done);
  EXPECT_EQ(away.reply.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(away.reply.status.message()), HasSubstr(server_.address()));
  kept.answer();
  Sent& moved = send(&transport);
  ASSERT_TRUE(status_of(&transport, moved).ok());
  EXPECT_EQ(other_handler.num_heard(), 1);

  other_handler.keep(true);
  Sent& stays = send(&transport);
  transport.set_servers({{{.id = ServerId{0}, .address = server_.address()},
                          {.id = kServer, .address = other_server.address()}}});
  EXPECT_FALSE(stays.reply.done);
  other_handler.take(&transport).answer();
  ASSERT_TRUE(status_of(&transport, stays).ok());
  transport.set_servers({});
  EXPECT_EQ(send(&transport).reply.status.code(), absl::StatusCode::kUnavailable);
}

TEST_F(GrpcTransportTest, GoesWithLegsInFlight) {
  handler_.keep(true);
  for (int i = 0; i < 20; ++i) {
    const auto transport = connect();
    for (int leg = 0; leg < i; ++leg) send(transport.get());
  }
  for (const Sent& sent : sent_) EXPECT_FALSE(sent.reply.done);
}

TEST_F(GrpcTransportTest, ALegThatIsTooLargeIsRefused) {
  const auto transport = connect();
  const std::vector<std::byte> rows(size_t{kMaxFrameBytes});
  const std::vector<int32_t> pick_begin(17);
  LegReply reply;
  transport->send({.server = kServer,
                   .pick_begin = pick_begin,
                   .row_type = DType::kF32,
                   .num_cols = kMaxFrameBytes / 64,
                   .rows = rows},
                  &reply);
  EXPECT_TRUE(reply.done);
  EXPECT_EQ(reply.status.code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(GrpcTransportTest, ALargeLegTravels) {
  const auto transport = connect();
  Sent& sent = sent_.emplace_back();
  constexpr int32_t kRows = 1024;
  constexpr int32_t kCols = 7168;
  sent.leg.hidden = {.dtype = DType::kF32, .num_rows = kRows, .num_cols = kCols};
  sent.leg.hidden.bytes = std::vector(size_t{kRows} * kCols * 4, std::byte{0x3f});
  for (int32_t m = 0; m <= kRows; ++m) sent.leg.pick_begin.push_back(m);
  sent.leg.pick_expert.resize(kRows);
  sent.leg.reply_type = DType::kF32;
  transport->send(sent.leg.view(kServer), &sent.reply);
  ASSERT_TRUE(status_of(transport.get(), sent).ok()) << sent.reply.status;
  expect_said(sent);
}

}  // namespace
}  // namespace conclave
