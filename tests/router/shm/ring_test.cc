// Records come out as they went in, in order, whatever their sizes and however full the ring is; a
// writer without room is told when there is some; a ring that makes no sense is noticed and never
// read past its ends.

#include "router/shm/ring.h"

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace conclave {
namespace {

constexpr size_t kCapacity = 4096;

struct Free {
  void operator()(std::byte* memory) const { std::free(memory); }
};

class RingTest : public testing::Test {
 protected:
  explicit RingTest(size_t capacity = kCapacity)
      : memory_(
            static_cast<std::byte*>(std::aligned_alloc(kRingLine, RingView::num_bytes(capacity)))) {
    std::memset(memory_.get(), 0, RingView::num_bytes(capacity));
    ring_ = RingView::at(memory_.get(), capacity);
    writer_ = std::make_unique<RingWriter>(ring_);
    reader_ = std::make_unique<RingReader>(ring_);
  }

  bool write(const std::vector<std::byte>& record) {
    std::byte* const to = writer_->reserve(record.size());
    if (to == nullptr) return false;
    std::copy(record.begin(), record.end(), to);
    writer_->commit();
    return true;
  }
  bool write(size_t num_bytes) { return write(std::vector<std::byte>(num_bytes)); }

  // The next record, which must be there.
  std::vector<std::byte> read(bool* wanted = nullptr) {
    const auto record = reader_->next();
    EXPECT_TRUE(record.ok() && record->has_value());
    std::vector<std::byte> bytes((*record)->begin(), (*record)->end());
    const bool wants = reader_->consume();
    if (wanted != nullptr) *wanted = wants;
    return bytes;
  }

  // Writes into the head of the record that lies at `at`.
  void forge(size_t at, size_t field, uint64_t value) {
    std::memcpy(ring_.data + at + field * sizeof(value), &value, sizeof(value));
  }
  void expect_nonsense() {
    EXPECT_EQ(reader_->next().status().code(), absl::StatusCode::kDataLoss);
  }

  std::unique_ptr<std::byte, Free> memory_;
  RingView ring_;
  std::unique_ptr<RingWriter> writer_;
  std::unique_ptr<RingReader> reader_;
};

TEST_F(RingTest, IsEmptyAtFirst) {
  const auto record = reader_->next();
  ASSERT_TRUE(record.ok());
  EXPECT_FALSE(record->has_value());
}

TEST_F(RingTest, AnySizesInAnyOrder) {
  std::mt19937 rng(7);
  std::deque<std::vector<std::byte>> inside;
  int num_full = 0;
  for (int step = 0; step < 20000; ++step) {
    if (rng() % 2 == 0) {
      std::vector<std::byte> record(rng() % 5 == 0 ? rng() % 1900 : rng() % 200);
      for (std::byte& byte : record) byte = static_cast<std::byte>(rng());
      if (write(record)) {
        inside.push_back(record);
      } else {
        ASSERT_FALSE(inside.empty()) << "an empty ring has no room for " << record.size();
        ++num_full;
      }
    } else if (!inside.empty()) {
      ASSERT_EQ(read(), inside.front());
      inside.pop_front();
    }
  }
  EXPECT_GT(num_full, 100);
}

TEST_F(RingTest, ALoneRecordOfHalfTheRingAlwaysFits) {
  for (size_t before = 0; before < kCapacity; before += kRingLine) {
    ASSERT_TRUE(write(writer_->max_record_bytes())) << before;
    read();
    ASSERT_TRUE(write(size_t{1}));
    read();
  }
}

TEST_F(RingTest, WhoHadNoRoomIsTold) {
  bool wanted = true;
  while (write(size_t{1000})) {
  }
  read(&wanted);
  EXPECT_TRUE(wanted);
  EXPECT_TRUE(write(size_t{1000}));
  read(&wanted);
  EXPECT_FALSE(wanted);
}

TEST_F(RingTest, NonsenseIsNoticed) {
  ASSERT_TRUE(write(size_t{10}));
  ring_.words->produced = kCapacity + kRingLine;
  expect_nonsense();
  ring_.words->produced = 130;
  expect_nonsense();
  ring_.words->produced = 2 * kRingLine;
  for (const uint64_t size : {uint64_t{65}, uint64_t{kCapacity}, UINT64_MAX, UINT64_MAX - 63}) {
    forge(0, 1, size);
    expect_nonsense();
  }
  forge(0, 1, 10);
  forge(0, 0, 12345);
  expect_nonsense();
}

TEST_F(RingTest, AWriterThatIsLiedToHasNoRoom) {
  ring_.words->consumed = 5 * kRingLine;  // more than was written
  EXPECT_FALSE(write(size_t{10}));
}

class WideRingTest : public RingTest {
 protected:
  WideRingTest() : RingTest(size_t{1} << 20) {}
};

// Small records use the beginning of a wide ring over and over.
TEST_F(WideRingTest, GoesBackToItsBeginning) {
  for (int i = 0; i < 10000; ++i) {
    std::byte* const to = writer_->reserve(1000);
    ASSERT_NE(to, nullptr);
    EXPECT_LT(to - ring_.data, 300 << 10);
    writer_->commit();
    read();
  }
}

TEST_F(WideRingTest, OneThreadWritesAnotherReads) {
  constexpr uint32_t kRecords = 20000;
  std::thread writer([&] {
    std::mt19937 rng(3);
    for (uint32_t i = 0; i < kRecords; ++i) {
      const size_t size = sizeof(i) + rng() % 5000;
      std::byte* to = nullptr;
      while ((to = writer_->reserve(size)) == nullptr) std::this_thread::yield();
      std::memcpy(to, &i, sizeof(i));
      writer_->commit();
    }
  });
  for (uint32_t i = 0; i < kRecords;) {
    const auto record = reader_->next();
    ASSERT_TRUE(record.ok());
    if (!record->has_value()) {
      std::this_thread::yield();
      continue;
    }
    uint32_t number = 0;
    std::memcpy(&number, (*record)->data(), sizeof(number));
    ASSERT_EQ(number, i++);
    reader_->consume();
  }
  writer.join();
}

}  // namespace
}  // namespace conclave
