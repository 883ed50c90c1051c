// A leg and an answer are the same after their way; a record that is cut, longer than it says, or
// of a shape that overflows is an error and never a read past its end.

#include "router/shm/leg_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <iterator>
#include <set>

#include "tests/router/random_leg.h"

namespace conclave {
namespace {

using testing::HasSubstr;

// Where the counts lie in a leg's head.
enum : size_t { kNumRows = 20, kNumPicks = 24, kNumCols = 28, kRowType = 32, kReplyType = 36 };

std::vector<std::byte> record_of(uint64_t sequence, const ArrivedLeg& leg) {
  const LegRequest request = leg.view(ServerId{0});
  std::vector<std::byte> record(leg_record_bytes(request));
  write_leg(sequence, request, record.data());
  return record;
}

std::vector<std::byte> record_of(const LegSaid& said) {
  std::vector<std::byte> record(reply_record_bytes(said));
  write_reply(said, record.data());
  return record;
}

void forge(std::vector<std::byte>* record, size_t at, uint32_t value) {
  std::memcpy(record->data() + at, &value, sizeof(value));
}

TEST(LegRecord, ALegIsTheSameAfterItsWay) {
  std::mt19937 rng(1);
  for (uint64_t i = 0; i < 500; ++i) {
    const ArrivedLeg leg = random_leg(&rng);
    const auto read = read_leg(record_of(i, leg));
    ASSERT_TRUE(read.ok()) << read.status();
    ASSERT_TRUE(read->wrong.ok());
    EXPECT_EQ(read->sequence, i);
    EXPECT_EQ(read->leg.layer_idx, leg.layer_idx);
    EXPECT_EQ(read->leg.placement_version, leg.placement_version);
    EXPECT_EQ(read->leg.pick_begin, leg.pick_begin);
    EXPECT_EQ(read->leg.pick_expert, leg.pick_expert);
    EXPECT_EQ(read->leg.reply_type, leg.reply_type);
    EXPECT_EQ(read->leg.hidden, leg.hidden);
  }
}

TEST(LegRecord, NoRowAndNoPick) {
  const ArrivedLeg leg{.pick_begin = {0}, .hidden = {.dtype = DType::kF32, .num_cols = 7}};
  const auto read = read_leg(record_of(1, leg));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->leg.pick_expert.empty());
  EXPECT_EQ(read->leg.hidden, leg.hidden);
}

TEST(LegRecord, AnythingButItsOwnLengthIsAnError) {
  std::mt19937 rng(2);
  std::set<DType> seen;
  while (seen.size() < std::size(kRowTypes)) {
    const ArrivedLeg leg = random_leg(&rng);
    if (leg.hidden.num_rows > 0) seen.insert(leg.hidden.dtype);
    std::vector<std::byte> record = record_of(1, leg);
    for (size_t size = 0; size < record.size(); ++size) {
      EXPECT_FALSE(read_leg(std::span(record).first(size)).ok()) << size;
    }
    record.push_back({});
    EXPECT_FALSE(read_leg(record).ok());
  }
}

// Two scales to 129 columns, and nobody answers in fp8: that is said, and the link goes on.
TEST(LegRecord, RowsOfFp8GoOutAlone) {
  ArrivedLeg leg{.pick_begin = {0, 1},
                 .pick_expert = {7},
                 .hidden = {.dtype = DType::kF8E4M3, .num_rows = 1, .num_cols = 129}};
  leg.hidden.bytes = std::vector<std::byte>(137);
  std::vector<std::byte> record = record_of(3, leg);
  auto read = read_leg(record);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->wrong.ok());
  EXPECT_EQ(read->leg.hidden, leg.hidden);
  forge(&record, kReplyType, 3);
  read = read_leg(record);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->sequence, 3u);
  EXPECT_EQ(read->wrong, absl::InvalidArgumentError("rows back as fp8; f32 and bf16 come back"));
  forge(&record, kNumCols, 128);  // one scale, and a number of bytes that no type has
  EXPECT_FALSE(read_leg(record).ok());
}

TEST(LegRecord, CountsThatCannotBe) {
  std::mt19937 rng(3);
  const ArrivedLeg leg = random_leg(&rng);
  for (const size_t count : {kNumRows, kNumPicks, kNumCols}) {
    for (const uint32_t value : {0x7fffffffu, 0xffffffffu, 0x80000000u, 0x40000000u}) {
      std::vector<std::byte> record = record_of(1, leg);
      forge(&record, count, value);
      EXPECT_FALSE(read_leg(record).ok()) << count << " " << value;
    }
  }
  for (const size_t type : {kRowType, kReplyType}) {
    std::vector<std::byte> record = record_of(1, leg);
    forge(&record, type, 7);
    EXPECT_FALSE(read_leg(record).ok());
  }
}

// Few bytes may not ask for more than an answer can hold: that is said, and the link goes on.
TEST(LegRecord, AnAnswerThatFitsNowhere) {
  ArrivedLeg leg{.pick_begin = {0, 20'000},
                 .reply_type = DType::kF32,
                 .hidden = {.dtype = DType::kBF16, .num_rows = 1, .num_cols = 1000}};
  leg.pick_expert.resize(20'000);
  leg.hidden.bytes = std::vector<std::byte>(2000);
  const auto read = read_leg(record_of(9, leg));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->sequence, 9u);
  EXPECT_EQ(read->wrong.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(read->wrong.message()), HasSubstr("20000 rows of 1000 columns of f32"));
}

TEST(ReplyRecord, RowsOrAStatus) {
  LegSaid said{.sequence = 5, .dtype = DType::kF32, .num_cols = 3};
  said.rows = std::vector(24, std::byte{7});
  auto read = read_reply(record_of(said));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->sequence, 5u);
  EXPECT_EQ(read->dtype, DType::kF32);
  EXPECT_EQ(read->num_cols, 3);
  EXPECT_EQ(read->rows, said.rows);

  said.status = absl::NotFoundError("expert 7\nlives elsewhere");
  read = read_reply(record_of(said));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->status, absl::NotFoundError("expert 7?lives elsewhere"));
  EXPECT_TRUE(read->rows.empty());
}

TEST(ReplyRecord, ShapesThatCannotBe) {
  LegSaid said{.sequence = 5, .dtype = DType::kF32, .num_cols = 3};
  said.rows = std::vector(24, std::byte{7});
  std::vector<std::byte> record = record_of(said);
  for (size_t size = 0; size < record.size(); ++size) {
    const auto read = read_reply(std::span(record).first(size));
    EXPECT_EQ(read.ok(), size == 24 || size == 36) << size;  // no row or one is an answer too
  }
  for (const uint32_t cols : {0u, 5u, 0xffffffffu}) {
    forge(&record, 16, cols);
    EXPECT_FALSE(read_reply(record).ok()) << cols;
  }
  forge(&record, 16, 8);  // 8 codes and a scale, twice
  forge(&record, 12, 3);
  EXPECT_EQ(read_reply(record).status().message(),
            "a record that cannot be read: rows back of a type that only goes out");
}

}  // namespace
}  // namespace conclave
