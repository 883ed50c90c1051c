#include "router/shm/ring.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/status_macros.h"

namespace conclave {
namespace {

enum : uint64_t { kRecord = 0x636f6e636c617665, kSkip = 0x736b697073706163 };

struct RecordHead {
  uint64_t kind = 0;
  uint64_t num_bytes = 0;  // of the record, unpadded; of a skip: with its head
};
static_assert(sizeof(RecordHead) <= kRingLine);

// An empty ring this far from its beginning goes back there.
constexpr uint64_t kWarmBytes = 256 << 10;

uint64_t padded(uint64_t num_bytes) { return (num_bytes + kRingLine - 1) & ~(kRingLine - 1); }

// A record with its head.
uint64_t record_bytes(uint64_t num_bytes) { return kRingLine + padded(num_bytes); }

absl::Status nonsense(uint64_t produced, uint64_t consumed) {
  return absl::DataLossError(
      absl::StrFormat("a broken ring: %d bytes written, %d read", produced, consumed));
}

}  // namespace

RingView RingView::at(std::byte* memory, size_t capacity) {
  CHECK(std::has_single_bit(capacity) && capacity >= 4096);
  // Zeros are what these words begin with, so the second side's look at them changes nothing.
  static_assert(sizeof(RingWords) == 3 * kRingLine);
  return {std::launder(reinterpret_cast<RingWords*>(memory)), memory + sizeof(RingWords), capacity};
}

bool RingWriter::has_room(uint64_t num_bytes) const {
  const uint64_t consumed = ring_.words->consumed.load(std::memory_order_seq_cst);
  const uint64_t used = produced_ - consumed;  // more than the capacity where that makes no sense
  return used <= ring_.capacity && num_bytes <= ring_.capacity - used;
}

void RingWriter::skip_to_start() {
  const uint64_t at = produced_ % ring_.capacity;
  const RecordHead head{.kind = kSkip, .num_bytes = ring_.capacity - at};
  std::memcpy(ring_.data + at, &head, sizeof(head));
  produced_ += head.num_bytes;
}

std::byte* RingWriter::reserve(size_t num_bytes) {
  CHECK(num_bytes <= max_record_bytes());
  const uint64_t needed = record_bytes(num_bytes);
  const uint64_t at = produced_ % ring_.capacity;
  const uint64_t to_end = ring_.capacity - at;
  const bool is_empty = ring_.words->consumed.load(std::memory_order_acquire) == produced_;
  const bool goes_back = is_empty && at >= kWarmBytes && needed <= at;
  const bool skips = needed > to_end || goes_back;
  if (!has_room(skips ? to_end + needed : needed)) {
    // Said before the second look: either that one sees the room, or the reader sees the wish.
    ring_.words->wants_room.store(1, std::memory_order_seq_cst);
    if (!has_room(skips ? to_end + needed : needed)) return nullptr;
  }
  if (skips) skip_to_start();
  std::byte* const start = ring_.data + produced_ % ring_.capacity;
  const RecordHead head{.kind = kRecord, .num_bytes = num_bytes};
  std::memcpy(start, &head, sizeof(head));
  reserved_ = needed;
  return start + kRingLine;
}

void RingWriter::commit() {
  CHECK(reserved_ > 0);
  produced_ += reserved_;
  reserved_ = 0;
  ring_.words->produced.store(produced_, std::memory_order_release);
}

absl::StatusOr<std::optional<std::span<const std::byte>>> RingReader::next() {
  CHECK(record_bytes_ == 0);
  while (true) {
    const uint64_t produced = ring_.words->produced.load(std::memory_order_acquire);
    const uint64_t available = produced - consumed_;
    if (available == 0) return std::nullopt;
    if (available > ring_.capacity || available % kRingLine != 0) {
      return nonsense(produced, consumed_);
    }
    const uint64_t at = consumed_ % ring_.capacity;
    RecordHead head;
    std::memcpy(&head, ring_.data + at, sizeof(head));
    const uint64_t most = std::min(available, ring_.capacity - at);
    if (head.kind == kSkip && head.num_bytes == ring_.capacity - at && head.num_bytes <= most) {
      advance(head.num_bytes);
      continue;
    }
    if (head.kind != kRecord || head.num_bytes > most || record_bytes(head.num_bytes) > most) {
      return nonsense(produced, consumed_);
    }
    record_bytes_ = record_bytes(head.num_bytes);
    return std::span<const std::byte>(ring_.data + at + kRingLine, head.num_bytes);
  }
}

bool RingReader::consume() {
  CHECK(record_bytes_ > 0);
  advance(record_bytes_);
  record_bytes_ = 0;
  if (ring_.words->wants_room.load(std::memory_order_seq_cst) == 0) return false;
  ring_.words->wants_room.store(0, std::memory_order_seq_cst);
  return true;
}

void RingReader::advance(uint64_t num_bytes) {
  consumed_ += num_bytes;
  ring_.words->consumed.store(consumed_, std::memory_order_seq_cst);
}

}  // namespace conclave
