// What the frames of layers must keep: as those of legs (leg_frame_test.cc), and
//   - rows are f32, every bit of them;
//   - a fault names a row that is there and is not OK.

#include "router/wire/moe_frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "proto/moe_layer.pb.h"
#include "tests/router/wire/frames.h"

namespace conclave {
namespace {

using testing::HasSubstr;

// Any bits, not-a-numbers too.
Matrix<float> random_matrix(int32_t num_rows, int32_t num_cols, std::mt19937* rng) {
  Matrix<float> rows(num_rows, num_cols);
  for (int64_t i = 0; i < int64_t{num_rows} * num_cols; ++i) {
    const uint32_t bits = (*rng)();
    std::memcpy(rows.view().data + i, &bits, sizeof(bits));
  }
  return rows;
}

void expect_same_bits(const Matrix<float>& a, const Matrix<float>& b) {
  ASSERT_EQ(a.num_rows(), b.num_rows());
  ASSERT_EQ(a.num_cols(), b.num_cols());
  const size_t num_values = static_cast<size_t>(a.num_rows()) * static_cast<size_t>(a.num_cols());
  if (num_values == 0) return;
  EXPECT_EQ(std::memcmp(a.view().data, b.view().data, num_values * sizeof(float)), 0);
}

v1::MoeForwardResponse small_response() {
  v1::MoeForwardResponse response;
  response.set_sequence(7);
  response.mutable_out()->set_dtype(v1::DTYPE_F32);
  response.mutable_out()->set_num_rows(2);
  response.mutable_out()->set_num_cols(1);
  response.mutable_out()->set_data("abcdefgh");
  return response;
}

TEST(MoeFrameTest, WhatWasEncodedIsDecoded) {
  std::mt19937 rng(1);
  for (const int32_t num_rows : {0, 1, 2, 33}) {
    const Matrix<float> hidden = random_matrix(num_rows, 7, &rng);
    const auto frame = encode_moe(5, 11, hidden.view());
    ASSERT_TRUE(frame.ok());
    const auto read = decode_moe(*frame);
    ASSERT_TRUE(read.ok() && read->content.ok());
    EXPECT_EQ(read->sequence, 5u);
    EXPECT_EQ(read->content->layer_idx, 11);
    expect_same_bits(read->content->hidden, hidden);
  }
}

TEST(MoeFrameTest, RowsOfAnotherTypeAreRefused) {
  v1::MoeForwardRequest request;
  request.set_sequence(7);
  request.mutable_hidden()->set_dtype(v1::DTYPE_BF16);
  request.mutable_hidden()->set_num_rows(1);
  request.mutable_hidden()->set_num_cols(1);
  request.mutable_hidden()->set_data("ab");
  const auto read = decode_moe(to_frame(request.SerializeAsString()));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->sequence, 7u);
  EXPECT_EQ(read->content.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(read->content.status().message()), HasSubstr("rows of bf16"));
}

TEST(MoeFrameTest, DamageIsSeen) {
  std::mt19937 rng(2);
  const Matrix<float> hidden = random_matrix(2, 3, &rng);
  const std::string request = to_bytes(*encode_moe(5, 11, hidden.view()));
  const std::string response = with_checksum(small_response().SerializeAsString());
  for (size_t bit = 0; bit < 8 * request.size(); ++bit) {
    EXPECT_FALSE(decode_moe(to_frame(with_flipped_bit(request, bit))).ok()) << "bit " << bit;
  }
  for (size_t bit = 0; bit < 8 * response.size(); ++bit) {
    EXPECT_FALSE(decode_moe_reply(to_frame(with_flipped_bit(response, bit))).ok()) << "bit " << bit;
  }
  EXPECT_EQ(decode_moe(to_frame("\x2a")).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(decode_moe_reply(to_frame("\x2a")).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(MoeReplyFrameTest, AnAnswerTravels) {
  std::mt19937 rng(3);
  MoeAnswer answer{.out = random_matrix(3, 5, &rng)};
  answer.faults.push_back({1, absl::UnavailableError("nobody holds expert 4")});
  answer.faults.push_back({2, absl::InternalError("not finite")});
  const auto read = decode_moe_reply(encode_moe_reply(6, answer));
  ASSERT_TRUE(read.ok() && read->content.ok());
  EXPECT_EQ(read->sequence, 6u);
  EXPECT_TRUE(read->content->status.ok());
  expect_same_bits(read->content->answer.out, answer.out);
  ASSERT_EQ(read->content->answer.faults.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(read->content->answer.faults[i].token_idx, answer.faults[i].token_idx);
    EXPECT_EQ(read->content->answer.faults[i].status, answer.faults[i].status);
  }
}

TEST(MoeReplyFrameTest, AStatusTravels) {
  const absl::Status status = absl::FailedPreconditionError("layer 0 is dense");
  const auto read = decode_moe_reply(encode_moe_reply(6, status));
  ASSERT_TRUE(read.ok() && read->content.ok());
  EXPECT_EQ(read->content->status, status);
}

TEST(MoeReplyFrameTest, AFaultOfNoTokenIsWrong) {
  for (const int32_t token_idx : {-1, 2, INT32_MAX}) {
    v1::MoeForwardResponse response = small_response();
    response.add_faults()->set_token_idx(token_idx);
    response.mutable_faults(0)->mutable_status()->set_code(13);
    const auto read = decode_moe_reply(to_frame(response.SerializeAsString()));
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(read->content.status().code(), absl::StatusCode::kInvalidArgument) << token_idx;
  }
  v1::MoeForwardResponse response = small_response();
  response.add_faults()->set_token_idx(1);  // and OK
  const auto read = decode_moe_reply(to_frame(response.SerializeAsString()));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->content.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace conclave
