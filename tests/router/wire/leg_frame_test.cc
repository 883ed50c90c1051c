// What the frames of legs must keep:
//   - what was encoded is decoded, the same in every field, and protobuf itself reads it too;
//   - a frame that protobuf wrote is read, in any order of fields and without a checksum;
//   - with a checksum, no flipped bit and no lost end goes unnoticed;
//   - a frame that cannot be read is a status of the decoder, one that says nonsense is a status
//     beside its sequence number;
//   - nothing over kMaxFrameBytes is made.

#include "router/wire/leg_frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/experts.pb.h"
#include "tests/router/wire/frames.h"

namespace conclave {
namespace {

using testing::HasSubstr;

void expect_same(const ArrivedLeg& a, const ArrivedLeg& b) {
  EXPECT_EQ(a.layer_idx, b.layer_idx);
  EXPECT_EQ(a.placement_version, b.placement_version);
  EXPECT_EQ(a.pick_begin, b.pick_begin);
  EXPECT_EQ(a.pick_expert, b.pick_expert);
  EXPECT_EQ(a.reply_type, b.reply_type);
  EXPECT_EQ(a.hidden, b.hidden);
}

std::string encoded(uint64_t sequence, const ArrivedLeg& leg) {
  const auto frame = encode_leg(sequence, leg.view(ServerId{0}));
  EXPECT_TRUE(frame.ok()) << frame.status();
  return to_bytes(*frame);
}

// One row of two columns, two picks; protobuf's own message.
v1::ForwardRequest small_request() {
  v1::ForwardRequest request;
  request.set_sequence(7);
  request.set_layer_idx(3);
  request.add_pick_begin(0);
  request.add_pick_begin(2);
  request.add_pick_expert(1);
  request.add_pick_expert(4);
  request.set_reply_type(v1::DTYPE_F32);
  request.mutable_hidden()->set_dtype(v1::DTYPE_BF16);
  request.mutable_hidden()->set_num_rows(1);
  request.mutable_hidden()->set_num_cols(2);
  request.mutable_hidden()->set_data("abcd");
  return request;
}

absl::Status content_of(const v1::ForwardRequest& request) {
  const auto read = decode_leg(to_frame(request.SerializeAsString()));
  if (!read.ok()) return absl::InternalError("it could not be read");
  EXPECT_EQ(read->sequence, 7u);
  return read->content.status();
}

void expect_content(const v1::ForwardRequest& request, const std::string& words) {
  const absl::Status status = content_of(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(words));
}

absl::Status unreadable(const std::string& bytes) { return decode_leg(to_frame(bytes)).status(); }

TEST(LegFrameTest, WhatWasEncodedIsDecoded) {
  std::mt19937 rng(1);
  for (int i = 0; i < 300; ++i) {
    const ArrivedLeg leg = random_leg(&rng);
    const uint64_t sequence = (uint64_t{rng()} << 32) | rng();
    const auto read = decode_leg(to_frame(encoded(sequence, leg)));
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->sequence, sequence);
    ASSERT_TRUE(read->content.ok()) << read->content.status();
    expect_same(*read->content, leg);
  }
}

TEST(LegFrameTest, AFrameOfSeveralSlicesIsTheSame) {
  std::mt19937 rng(2);
  const ArrivedLeg leg = random_leg(&rng);
  const std::string bytes = encoded(1, leg);
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < bytes.size(); at += 3) slices.emplace_back(bytes.substr(at, 3));
  const auto read = decode_leg(grpc::ByteBuffer(slices.data(), slices.size()));
  ASSERT_TRUE(read.ok() && read->content.ok());
  expect_same(*read->content, leg);
}

TEST(LegFrameTest, ProtobufReadsOurs) {
  std::mt19937 rng(3);
  const ArrivedLeg leg = random_leg(&rng);
  v1::ForwardRequest request;
  ASSERT_TRUE(request.ParseFromString(encoded(9, leg)));
  EXPECT_EQ(request.sequence(), 9u);
  EXPECT_NE(request.checksum(), 0u);
  EXPECT_EQ(request.pick_expert_size(), static_cast<int>(leg.pick_expert.size()));
  EXPECT_EQ(request.hidden().num_cols(), leg.hidden.num_cols);
  EXPECT_EQ(request.hidden().data().size(), leg.hidden.bytes.size());
}

TEST(LegFrameTest, OursReadsProtobufs) {
  EXPECT_TRUE(content_of(small_request()).ok());
  // Rows before the other fields, as another writer may have it.
  v1::ForwardRequest rows;
  *rows.mutable_hidden() = small_request().hidden();
  v1::ForwardRequest rest = small_request();
  rest.clear_hidden();
  const auto read = decode_leg(to_frame(rows.SerializeAsString() + rest.SerializeAsString()));
  ASSERT_TRUE(read.ok() && read->content.ok());
  EXPECT_EQ(read->content->pick_expert, (std::vector<int32_t>{1, 4}));
  EXPECT_EQ(read->content->hidden.bytes.size(), 4u);
}

TEST(LegFrameTest, EveryFlippedBitIsSeen) {
  const auto request = with_checksum(small_request().SerializeAsString());
  ASSERT_TRUE(decode_leg(to_frame(request)).ok());
  for (size_t bit = 0; bit < 8 * request.size(); ++bit) {
    const absl::StatusCode code = unreadable(with_flipped_bit(request, bit)).code();
    EXPECT_EQ(code, bit < 8 ? absl::StatusCode::kInvalidArgument : absl::StatusCode::kDataLoss)
        << "bit " << bit;
  }
}

TEST(LegFrameTest, EveryLostEndIsSeen) {
  std::mt19937 rng(4);
  const std::string bytes = encoded(1, random_leg(&rng));
  for (size_t size = 1; size < bytes.size(); ++size) {
    const absl::StatusCode code = unreadable(bytes.substr(0, size)).code();
    EXPECT_EQ(code, size < 5 ? absl::StatusCode::kInvalidArgument : absl::StatusCode::kDataLoss);
  }
}

TEST(LegFrameTest, ADamagedFrameNamesBothChecksums) {
  const absl::Status status = unreadable(std::string("\x0d\xef\xbe\xad\xde", 5) + "123456789");
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("deadbeef"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("e3069283"));
}

TEST(LegFrameTest, WhatIsNoMessageCannotBeRead) {
  const std::string good = small_request().SerializeAsString();
  const std::string rows = "\x7a" + std::string(1, '\x02') + "\x10\x01";
  for (const std::string& bytes : {
           good.substr(0, good.size() - 1),             // the rows end early
           std::string("\x7b"),                         // a group
           std::string("\x7f"),                         // no such wire type
           std::string("\x00\x00", 2),                  // field 0
           std::string(11, '\xff'),                     // a number without an end
           std::string("\x78\x01"),                     // rows that are a number
           std::string("\x1d\x01\x02\x03\x04"),         // a fixed32 that is no checksum
           good + std::string("\x0d\x01\x02\x03\x04"),  // a checksum at the end
           rows + rows,                                 // rows twice
           std::string("\x7a\x01\x10"),                 // rows whose head ends early
           std::string("\x2a\x01\xff"),                 // pick_begin whose number ends early
       }) {
    EXPECT_EQ(unreadable(bytes).code(), absl::StatusCode::kInvalidArgument)
        << testing::PrintToString(bytes);
    EXPECT_EQ(unreadable(with_checksum(bytes)).code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(LegFrameTest, NonsenseHasASequenceNumber) {
  v1::ForwardRequest request = small_request();
  request.set_reply_type(v1::DTYPE_UNSPECIFIED);
  expect_content(request, "type 0");
  request = small_request();
  request.mutable_hidden()->set_dtype(static_cast<v1::DType>(9));
  expect_content(request, "type 9");
  request = small_request();
  request.set_reply_type(v1::DTYPE_F8E4M3);
  expect_content(request, "rows back as fp8; f32 and bf16 come back");
  request = small_request();
  request.clear_hidden();
  expect_content(request, "without rows");
  request = small_request();
  request.add_pick_begin(2);
  expect_content(request, "3 entries of pick_begin for 1 rows");
  request = small_request();
  request.clear_pick_begin();
  expect_content(request, "0 entries of pick_begin");
  request = small_request();
  request.mutable_hidden()->set_data("abcde");
  expect_content(request, "1 rows of 2 columns of bf16 in 5 bytes");
}

// Two columns of fp8 are two codes and a scale; 129 are as many codes and two scales.
TEST(LegFrameTest, RowsOfFp8HaveTheirScales) {
  v1::ForwardRequest request = small_request();
  v1::Rows* const rows = request.mutable_hidden();
  rows->set_dtype(v1::DTYPE_F8E4M3);
  for (const auto& [num_cols, row_bytes] : {std::pair<int32_t, size_t>{2, 6}, {129, 137}}) {
    rows->set_num_cols(num_cols);
    for (size_t num_bytes = 0; num_bytes <= 2 * row_bytes; ++num_bytes) {
      rows->set_data(std::string(num_bytes, 'x'));
      EXPECT_EQ(content_of(request).ok(), num_bytes == row_bytes) << num_cols << " " << num_bytes;
    }
  }
  rows->set_data("abcdefg");
  expect_content(request, "1 rows of 129 columns of fp8 in 7 bytes");
}

TEST(LegFrameTest, ShapesAreMultipliedWithCare) {
  struct Shape {
    int32_t num_rows;
    int32_t num_cols;
  };
  for (const Shape& shape : {Shape{-1, 2}, {1, 0}, {1, -2}, {-1, -2}, {0, 0}}) {
    v1::ForwardRequest request = small_request();
    request.mutable_hidden()->set_num_rows(shape.num_rows);
    request.mutable_hidden()->set_num_cols(shape.num_cols);
    expect_content(request, "no matrix");
  }
  // The product of these is 4 in 32 bits, and in 64 bits far from it.
  for (const Shape& shape : {Shape{INT32_MAX, INT32_MAX}, {1 << 30, 1 << 30}, {1 << 16, 1 << 15}}) {
    v1::ForwardRequest request = small_request();
    request.mutable_hidden()->set_num_rows(shape.num_rows);
    request.mutable_hidden()->set_num_cols(shape.num_cols);
    expect_content(request, "in 4 bytes");
  }
}

TEST(LegFrameTest, AnAnswerMustFitIntoAFrame) {
  v1::ForwardRequest request = small_request();
  request.mutable_hidden()->set_num_cols(1 << 12);
  request.mutable_hidden()->set_data(std::string(2 << 12, 'a'));
  request.mutable_pick_expert()->Resize(1 << 12, 1);  // 64 MiB of f32
  EXPECT_TRUE(content_of(request).ok());
  request.add_pick_expert(1);
  expect_content(request, "4097 rows of 4096 columns of f32 does not fit");
  request.set_reply_type(v1::DTYPE_BF16);
  EXPECT_TRUE(content_of(request).ok());
}

TEST(LegFrameTest, ALegWithoutRowsTravels) {
  ArrivedLeg leg;
  leg.pick_begin = {0};
  leg.hidden = {.dtype = DType::kBF16, .num_rows = 0, .num_cols = 8};
  const auto read = decode_leg(to_frame(encoded(1, leg)));
  ASSERT_TRUE(read.ok() && read->content.ok());
  expect_same(*read->content, leg);
}

TEST(LegFrameTest, ALegThatIsTooLargeIsRefused) {
  const std::vector<std::byte> rows(size_t{kMaxFrameBytes});
  const std::vector<int32_t> pick_begin(17);
  const auto frame = encode_leg(1, {.pick_begin = pick_begin,
                                    .row_type = DType::kF32,
                                    .num_cols = kMaxFrameBytes / 64,
                                    .rows = rows});
  EXPECT_EQ(frame.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(frame.status().message()), HasSubstr("the limit is 67108864"));
}

// What the engine packed is what gRPC is given, and what came in one slice is what the engine gets.
TEST(LegFrameTest, RowsAreNotCopied) {
  ArrivedLeg leg{.pick_begin = {0, 1},
                 .pick_expert = {7},
                 .hidden = {.dtype = DType::kF32,
                            .num_rows = 1,
                            .num_cols = 1000,
                            .bytes = std::vector<std::byte>(4000)}};
  const auto frame = encode_leg(1, leg.view(ServerId{0}));
  ASSERT_TRUE(frame.ok());
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(frame->Dump(&slices).ok());
  EXPECT_EQ(static_cast<const void*>(slices.back().begin()), leg.hidden.bytes.data());

  const grpc::Slice whole(to_bytes(*frame));
  const auto read = decode_leg(grpc::ByteBuffer(&whole, 1));
  ASSERT_TRUE(read.ok() && read->content.ok());
  const auto* const rows = reinterpret_cast<const uint8_t*>(read->content->hidden.bytes.data());
  EXPECT_TRUE(rows > whole.begin() && rows + 4000 == whole.end());
  EXPECT_EQ(read->content->hidden, leg.hidden);
}

// A slice may outlive whoever packed the rows: a leg that was given up is still being sent.
TEST(LegFrameTest, AFrameKeepsItsRows) {
  auto leg = std::make_unique<ArrivedLeg>(
      ArrivedLeg{.pick_begin = {0, 1},
                 .pick_expert = {7},
                 .hidden = {.dtype = DType::kF32,
                            .num_rows = 1,
                            .num_cols = 1000,
                            .bytes = std::vector(4000, std::byte{0x3f})}});
  const auto frame = encode_leg(1, leg->view(ServerId{0}));
  leg.reset();
  const auto read = decode_leg(*frame);
  ASSERT_TRUE(read.ok() && read->content.ok());
  EXPECT_EQ(read->content->hidden.bytes, SharedBytes(std::vector(4000, std::byte{0x3f})));
}

}  // namespace
}  // namespace conclave
