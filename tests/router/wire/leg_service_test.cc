// What an expert server's door must keep:
//   - any gRPC client is served, with or without checksums;
//   - a leg that is wrong in itself is answered and its stream goes on; a frame that cannot be read
//     ends its stream with its own status, and no other stream;
//   - no more than the limit of a stream's legs are with the handler or on their way back;
//   - done() may be called from any thread, and when stream, server and service are gone;
//   - a stop drains or does not, as asked, and says UNAVAILABLE.

#include "router/wire/leg_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/router/speaking_handler.h"
#include "tests/router/wire/raw_stream.h"
#include "tests/router/wire/wire_server.h"

namespace conclave {
namespace {

using testing::HasSubstr;

class LegServiceTest : public testing::Test {
 protected:
  LegServiceTest()
      : service_(std::make_unique<LegService>(&handler_, LegService::Options{2})),
        server_(std::make_unique<WireServer>(service_->service())) {}

  std::string frame(uint64_t sequence) {
    return to_bytes(*encode_leg(sequence, random_leg(&rng_).view(ServerId{0})));
  }

  // Of an answer that can be read; its sequence number goes to `sequence`.
  static absl::Status status_of(const std::string& answer, uint64_t* sequence) {
    const auto read = decode_leg_reply(to_frame(answer));
    CHECK(read.ok());
    *sequence = read->sequence;
    return read->content.ok() ? read->content->status : read->content.status();
  }

  void expect_answer(const std::string& answer, uint64_t sequence,
                     absl::StatusCode code = absl::StatusCode::kOk) {
    uint64_t said = 0;
    EXPECT_EQ(status_of(answer, &said).code(), code);
    EXPECT_EQ(said, sequence);
  }

  void wait_for_no_streams() {
    while (service_->num_streams() > 0) std::this_thread::yield();
  }

  std::mt19937 rng_{1};
  SpeakingHandler handler_;
  std::unique_ptr<LegService> service_;
  std::unique_ptr<WireServer> server_;
};

// One row for expert 2, in protobuf's own message.
v1::ForwardRequest anyones_request(v1::DType dtype, int32_t num_cols, const std::string& data) {
  v1::ForwardRequest request;
  request.set_sequence(7);
  request.add_pick_begin(0);
  request.add_pick_begin(1);
  request.add_pick_expert(2);
  request.set_reply_type(v1::DTYPE_F32);
  request.mutable_hidden()->set_dtype(dtype);
  request.mutable_hidden()->set_num_rows(1);
  request.mutable_hidden()->set_num_cols(num_cols);
  request.mutable_hidden()->set_data(data);
  return request;
}

TEST_F(LegServiceTest, AnyClientIsServed) {
  const auto stub = v1::Experts::NewStub(
      grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  const auto stream = stub->Forward(&context);
  v1::ForwardResponse response;
  ASSERT_TRUE(stream->Write(anyones_request(v1::DTYPE_BF16, 1, std::string("\x80\x3f", 2))));  // 1
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.sequence(), 7u);
  EXPECT_FALSE(response.has_status());
  EXPECT_EQ(response.said().dtype(), v1::DTYPE_F32);
  EXPECT_EQ(response.said().data(), std::string("\x00\x00\x40\x40", 4));  // 3

  // Codes 1 and -2 with the scale 1/2, as types.proto says.
  const std::string row("\x38\xc0\x00\x00\x00\x3f", 6);
  ASSERT_TRUE(stream->Write(anyones_request(v1::DTYPE_F8E4M3, 2, row)));
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_FALSE(response.has_status());
  EXPECT_EQ(response.said().data(), std::string("\x00\x00\xc0\x3f\x00\x00\x40\xc0", 8));  // 1.5, -3
  ASSERT_TRUE(stream->WritesDone());
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
  wait_for_no_streams();
}

TEST_F(LegServiceTest, AWrongLegIsAnsweredAndTheStreamGoesOn) {
  RawClient client(server_->address());
  v1::ForwardRequest request;
  request.set_sequence(5);
  client.write(request.SerializeAsString());
  client.wait_for_frames(1);
  ASSERT_EQ(client.frames.size(), 1u);
  expect_answer(client.frames[0], 5, absl::StatusCode::kInvalidArgument);
  client.write(frame(6));
  client.wait_for_frames(2);
  ASSERT_EQ(client.frames.size(), 2u);
  expect_answer(client.frames[1], 6);
  EXPECT_EQ(handler_.num_heard(), 1);
}

TEST_F(LegServiceTest, AFrameThatCannotBeReadEndsItsStreamOnly) {
  RawClient other(server_->address());
  RawClient garbled(server_->address());
  garbled.write("\x7f");
  EXPECT_EQ(garbled.wait_for_end().code(), absl::StatusCode::kInvalidArgument);
  RawClient damaged(server_->address());
  std::string bytes = frame(1);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  damaged.write(bytes);
  EXPECT_EQ(damaged.wait_for_end().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(damaged.end->message()), HasSubstr("checksum"));
  RawClient empty(server_->address());
  empty.write("");  // the smallest message: a leg of nothing
  empty.wait_for_frames(1);
  ASSERT_EQ(empty.frames.size(), 1u);
  expect_answer(empty.frames[0], 0, absl::StatusCode::kInvalidArgument);
  other.write(frame(2));
  other.wait_for_frames(1);
  ASSERT_EQ(other.frames.size(), 1u);
  expect_answer(other.frames[0], 2);
}

TEST_F(LegServiceTest, AFrameOverTheLimitEndsItsStream) {
  RawClient client(server_->address());
  client.write(std::string(size_t{kMaxFrameBytes} + 1, 'x'));
  EXPECT_EQ(client.wait_for_end().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(LegServiceTest, LegsInFlightAreLimited) {
  handler_.keep(true);
  RawClient client(server_->address());
  for (uint64_t sequence = 1; sequence <= 6; ++sequence) client.write(frame(sequence));
  handler_.wait_for_kept(2, &client);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // time for a third to come
  EXPECT_EQ(handler_.num_heard(), 2);
  for (int answered = 1; answered <= 6; ++answered) {
    handler_.take(&client).answer();
    client.wait_for_frames(static_cast<size_t>(answered));
    if (answered <= 4) handler_.wait_for_kept(2, &client);
    EXPECT_EQ(handler_.num_heard(), std::min(6, answered + 2));
  }
}

// Written from a thread of its own, as our own clients write and read on one.
TEST_F(LegServiceTest, AClientThatDoesNotReadIsNotReadFrom) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  const auto stub = v1::Experts::NewStub(
      grpc::CreateCustomChannel(server_->address(), grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext context;
  const auto stream = stub->Forward(&context);
  ArrivedLeg leg;
  leg.pick_begin = {0, 1};
  leg.pick_expert = {0};
  leg.reply_type = DType::kF32;
  leg.hidden = {.dtype = DType::kF32,
                .num_rows = 1,
                .num_cols = 700'000,
                .bytes = std::vector<std::byte>(size_t{4} * 700'000)};
  constexpr uint64_t kLegs = 32;
  std::thread writer([&] {
    for (uint64_t i = 0; i < kLegs; ++i) {
      v1::ForwardRequest request;
      CHECK(request.ParseFromString(to_bytes(*encode_leg(i, leg.view(ServerId{0})))));
      CHECK(stream->Write(request));
    }
    stream->WritesDone();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(handler_.num_heard(), static_cast<int>(kLegs));
  v1::ForwardResponse response;
  uint64_t num_read = 0;
  while (stream->Read(&response)) ++num_read;
  writer.join();
  EXPECT_EQ(num_read, kLegs);
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(LegServiceTest, AnswersFromOtherThreads) {
  handler_.keep(true);
  RawClient client(server_->address());
  constexpr uint64_t kLegs = 50;
  for (uint64_t sequence = 0; sequence < kLegs; ++sequence) client.write(frame(sequence));
  const auto answer_half = [&] {
    for (uint64_t i = 0; i < kLegs / 2; ++i) handler_.take().answer();
  };
  std::thread first(answer_half);
  std::thread second(answer_half);
  client.wait_for_frames(kLegs);
  first.join();
  second.join();
  EXPECT_EQ(client.frames.size(), kLegs);
}

TEST_F(LegServiceTest, AnAnswerOfAWrongSizeIsInternal) {
  handler_.keep(true);
  RawClient client(server_->address());
  client.write(frame(4));
  handler_.take(&client).done(std::vector<std::byte>(1));
  client.wait_for_frames(1);
  ASSERT_EQ(client.frames.size(), 1u);
  expect_answer(client.frames[0], 4, absl::StatusCode::kInternal);
}

TEST_F(LegServiceTest, AStopThatDrainsAnswersWhatHasArrived) {
  handler_.keep(true);
  RawClient client(server_->address());
  client.write(frame(1));
  client.write(frame(2));
  const SpeakingHandler::Kept first = handler_.take(&client);
  const SpeakingHandler::Kept second = handler_.take(&client);
  service_->shutdown(/*drain=*/true);
  EXPECT_EQ(service_->num_streams(), 1);
  first.answer();
  second.answer();
  EXPECT_EQ(client.wait_for_end(), absl::UnavailableError("server is stopping"));
  EXPECT_EQ(client.frames.size(), 2u);
  RawClient late(server_->address());
  EXPECT_EQ(late.wait_for_end(), absl::UnavailableError("server is stopping"));
  wait_for_no_streams();
}

TEST_F(LegServiceTest, AStopAtOnce) {
  handler_.keep(true);
  RawClient client(server_->address());
  client.write(frame(1));
  const SpeakingHandler::Kept kept = handler_.take(&client);
  service_->shutdown(/*drain=*/true);
  service_->shutdown(/*drain=*/false);  // the patience is over
  EXPECT_EQ(client.wait_for_end(), absl::UnavailableError("server is stopping"));
  EXPECT_TRUE(client.frames.empty());
  wait_for_no_streams();
  kept.answer();
}

TEST_F(LegServiceTest, AnswersWhenAllIsGone) {
  handler_.keep(true);
  auto client = std::make_unique<RawClient>(server_->address());
  client->write(frame(1));
  client->write(frame(2));
  const SpeakingHandler::Kept first = handler_.take(client.get());
  const SpeakingHandler::Kept second = handler_.take(client.get());
  client.reset();
  wait_for_no_streams();
  first.answer();
  server_.reset();
  service_.reset();
  second.answer();
}

}  // namespace
}  // namespace conclave
