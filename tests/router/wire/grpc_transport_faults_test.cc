// What the transport must keep when servers misbehave: an answer that cannot be read is a broken
// stream, one that repeats itself or answers nobody is dropped, one of another type fails its own
// leg alone, and whatever ends a stream is a lost server to the other legs.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/router/wire/raw_stream.h"
#include "tests/router/wire/transport_fixture.h"

namespace conclave {
namespace {

using testing::HasSubstr;

class GrpcTransportFaultsTest : public TransportFixture {};

grpc::ByteBuffer answer(uint64_t sequence, const ArrivedLeg& leg) {
  return encode_leg_reply(sequence,
                          {.said = {.dtype = leg.reply_type,
                                    .num_rows = static_cast<int32_t>(leg.pick_expert.size()),
                                    .num_cols = leg.hidden.num_cols,
                                    .bytes = say(leg)}});
}

TEST_F(GrpcTransportFaultsTest, AnAnswerThatCannotBeReadIsDataLossForItsStream) {
  const std::string damaged("\x0d\x01\x02\x03\x04\x05", 6);
  FrameDoor::Reply first_reply;  // calls of one stream come one by one
  RawService service([&](uint64_t, const FrameDoor::Reply& reply) {
    if (!first_reply) {
      first_reply = reply;
      return absl::OkStatus();
    }
    reply(to_frame(damaged));
    first_reply(to_frame(damaged));
    return absl::OkStatus();
  });
  WireServer server(&service);
  const auto transport = connect(server.address(), {.reconnect = {.first = absl::Seconds(2)}});
  Sent& first = send(transport.get());
  Sent& second = send(transport.get());
  EXPECT_EQ(status_of(transport.get(), first).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(status_of(transport.get(), second).code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(first.reply.status.message()), HasSubstr(server.address()));
  EXPECT_EQ(send(transport.get()).reply.status.code(), absl::StatusCode::kUnavailable);  // down
  EXPECT_EQ(transport->counters().num_lost_streams, 1u);
}

TEST_F(GrpcTransportFaultsTest, AnswersToNobodyAreDropped) {
  ArrivedLeg leg = random_leg(&rng_);
  RawService service([&](uint64_t sequence, const FrameDoor::Reply& reply) {
    reply(answer(sequence + 1000, leg));
    return absl::OkStatus();
  });
  WireServer server(&service);
  const auto transport = connect(server.address());
  LegReply reply;
  transport->send(leg.view(kServer), &reply);
  const absl::Time until = soon();
  while (transport->counters().num_dropped_answers == 0 && clock_.now() < until) {
    EXPECT_FALSE(transport->wait(clock_.now() + absl::Milliseconds(10)));
  }
  EXPECT_EQ(transport->counters().num_dropped_answers, 1u);
  EXPECT_FALSE(reply.done);
}

TEST_F(GrpcTransportFaultsTest, AnAnswerOfAnotherTypeIsInternal) {
  RawService service([](uint64_t sequence, const FrameDoor::Reply& reply) {
    const PackedRows said{.dtype = DType::kF32, .num_rows = 0, .num_cols = 1};
    reply(sequence == 1 ? encode_leg_reply(sequence, {.said = said})
                        : to_frame(std::string("\x10\x02", 2)));  // no rows and no status
    return absl::OkStatus();
  });
  WireServer server(&service);
  const auto transport = connect(server.address());
  Sent& first = sent_.emplace_back();
  first.leg.pick_begin = {0};
  first.leg.hidden = {.dtype = DType::kBF16, .num_rows = 0, .num_cols = 2};
  transport->send(first.leg.view(kServer), &first.reply);
  EXPECT_EQ(status_of(transport.get(), first).code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(first.reply.status.message()), HasSubstr("asked for bf16, 2"));
  Sent& second = send(transport.get());
  EXPECT_EQ(status_of(transport.get(), second).code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(second.reply.status.message()), HasSubstr("without rows"));
}

TEST_F(GrpcTransportFaultsTest, AnyEndOfAStreamIsALostServer) {
  for (const absl::Status& end :
       {absl::InvalidArgumentError("bad frame"), absl::UnimplementedError("what"),
        absl::DataLossError("damaged"), absl::ResourceExhaustedError("full")}) {
    RawService service([&](uint64_t, const FrameDoor::Reply&) { return end; });
    WireServer server(&service);
    const auto transport = connect(server.address());
    Sent& sent = send(transport.get());
    const bool is_kept = end.code() == absl::StatusCode::kDataLoss ||
                         end.code() == absl::StatusCode::kResourceExhausted;
    EXPECT_EQ(status_of(transport.get(), sent).code(),
              is_kept ? end.code() : absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(sent.reply.status.message()), HasSubstr(std::string(end.message())));
  }
}

}  // namespace
}  // namespace conclave
