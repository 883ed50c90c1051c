// What the frames of answers must keep: as those of legs (leg_frame_test.cc), and
//   - a status travels with its code and a line of its message;
//   - an answer is rows or a status.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/experts.pb.h"
#include "router/wire/leg_frame.h"
#include "tests/router/wire/frames.h"

namespace conclave {
namespace {

v1::ForwardResponse small_response() {
  v1::ForwardResponse response;
  response.set_sequence(7);
  response.mutable_said()->set_dtype(v1::DTYPE_F32);
  response.mutable_said()->set_num_rows(1);
  response.mutable_said()->set_num_cols(1);
  response.mutable_said()->set_data("abcd");
  return response;
}

TEST(LegReplyFrameTest, EveryFlippedBitIsSeen) {
  const auto response = with_checksum(small_response().SerializeAsString());
  ASSERT_TRUE(decode_leg_reply(to_frame(response)).ok());
  for (size_t bit = 0; bit < 8 * response.size(); ++bit) {
    EXPECT_FALSE(decode_leg_reply(to_frame(with_flipped_bit(response, bit))).ok()) << bit;
  }
}

TEST(LegReplyFrameTest, WhatWasEncodedIsDecoded) {
  std::mt19937 rng(5);
  for (int i = 0; i < 100; ++i) {
    const PackedRows said = random_leg(&rng).hidden;
    if (said.dtype == DType::kF8E4M3) continue;
    const auto read = decode_leg_reply(encode_leg_reply(rng(), {.said = said}));
    ASSERT_TRUE(read.ok()) << read.status();
    ASSERT_TRUE(read->content.ok()) << read->content.status();
    EXPECT_TRUE(read->content->status.ok());
    EXPECT_EQ(read->content->said, said);
  }
}

TEST(LegReplyFrameTest, AStatusTravels) {
  const absl::Status status = absl::NotFoundError("layer 3, expert 4: held elsewhere");
  const auto read = decode_leg_reply(encode_leg_reply(8, {.status = status}));
  ASSERT_TRUE(read.ok() && read->content.ok());
  EXPECT_EQ(read->sequence, 8u);
  EXPECT_EQ(read->content->status, status);
}

TEST(LegReplyFrameTest, AStatusWithAnyBytesIsALineOfAscii) {
  const absl::Status status = absl::InternalError("\xff\n\xc3" + std::string(5000, 'a'));
  const auto read = decode_leg_reply(encode_leg_reply(8, {.status = status}));
  ASSERT_TRUE(read.ok() && read->content.ok());
  EXPECT_EQ(read->content->status.message(), "???" + std::string(997, 'a'));
}

TEST(LegReplyFrameTest, AnothersMessageBecomesALineOfAscii) {
  v1::ForwardResponse response = small_response();
  response.mutable_status()->set_code(5);
  response.mutable_status()->set_message("a\nb\x7f" + std::string(2000, 'c'));
  const auto read = decode_leg_reply(to_frame(response.SerializeAsString()));
  ASSERT_TRUE(read.ok() && read->content.ok());
  EXPECT_EQ(read->content->status, absl::NotFoundError("a?b?" + std::string(996, 'c')));
}

TEST(LegReplyFrameTest, ACodeThatNobodyKnowsIsUnknown) {
  v1::ForwardResponse response = small_response();
  for (const int32_t code : {-1, 17, INT32_MAX}) {
    response.mutable_status()->set_code(code);
    const auto read = decode_leg_reply(to_frame(response.SerializeAsString()));
    ASSERT_TRUE(read.ok() && read->content.ok());
    EXPECT_EQ(read->content->status.code(), absl::StatusCode::kUnknown) << code;
  }
}

TEST(LegReplyFrameTest, AnAnswerWithoutRowsOrStatusIsWrong) {
  v1::ForwardResponse response = small_response();
  response.clear_said();
  const auto read = decode_leg_reply(to_frame(response.SerializeAsString()));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->sequence, 7u);
  EXPECT_EQ(read->content.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(LegReplyFrameTest, AnAnswerInFp8IsWrong) {
  v1::ForwardResponse response = small_response();
  response.mutable_said()->set_dtype(v1::DTYPE_F8E4M3);
  response.mutable_said()->set_data("abcde");  // one code and one scale: its shape is right
  const auto read = decode_leg_reply(to_frame(response.SerializeAsString()));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->content.status(),
            absl::InvalidArgumentError("rows back as fp8; f32 and bf16 come back"));
}

TEST(LegReplyFrameTest, AnAnswerThatIsTooLargeBecomesAnError) {
  PackedRows said{.dtype = DType::kF32, .num_rows = 16, .num_cols = kMaxFrameBytes / 64};
  said.bytes = std::vector<std::byte>(kMaxFrameBytes);
  const auto read = decode_leg_reply(encode_leg_reply(3, {.said = std::move(said)}));
  ASSERT_TRUE(read.ok() && read->content.ok());
  EXPECT_EQ(read->content->status.code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace conclave
