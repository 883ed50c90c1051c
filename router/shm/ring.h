// Records from one process to another through shared memory: one writer, one reader, a ring of
// bytes, two counters.
//
//   | words | data: ... [head 64 B | record, padded to 64 B] [head | record] ...            |
//
// A record lies in one piece; where it would run over the end, a skip fills the rest. Counters only
// grow: consumed <= produced <= consumed + capacity. A lone record of up to half the capacity
// always finds room. An empty ring goes back to its beginning now and then, so that small records
// stay in the same few pages, in the cache, and the others are never touched.
//
// Neither side believes the other: what the reader takes is checked against the ring before it is
// used, and may change while it is looked at, so take a copy and check that.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "absl/status/statusor.h"

namespace conclave {

inline constexpr size_t kRingLine = 64;

struct RingWords {
  alignas(kRingLine) std::atomic<uint64_t> produced{0};
  alignas(kRingLine) std::atomic<uint64_t> consumed{0};
  alignas(kRingLine) std::atomic<uint32_t> wants_room{0};  // the writer has more than fits
};
static_assert(std::atomic<uint64_t>::is_always_lock_free);

// The parts of a ring. Capacities are powers of two from 4 KiB.
struct RingView {
  RingWords* words = nullptr;
  std::byte* data = nullptr;
  size_t capacity = 0;

  static size_t num_bytes(size_t capacity) { return sizeof(RingWords) + capacity; }
  // `memory` is num_bytes() of zeros that both sides see.
  static RingView at(std::byte* memory, size_t capacity);
};

class RingWriter {
 public:
  explicit RingWriter(const RingView& ring) : ring_(ring) {}

  // Room for a record, to be filled and then committed. Null when there is none now; the reader is
  // told and says when there is.
  std::byte* reserve(size_t num_bytes);
  void commit();

  // What reserve() never has room for.
  size_t max_record_bytes() const { return ring_.capacity / 2 - kRingLine; }

 private:
  bool has_room(uint64_t num_bytes) const;
  void skip_to_start();

  const RingView ring_;
  uint64_t produced_ = 0;
  uint64_t reserved_ = 0;
};

class RingReader {
 public:
  explicit RingReader(const RingView& ring) : ring_(ring) {}

  // The oldest record, or nothing. DATA_LOSS when the ring makes no sense: the other side is not to
  // be trusted any further.
  absl::StatusOr<std::optional<std::span<const std::byte>>> next();

  // Gives the record that next() has shown back. True when the writer has waited for room.
  bool consume();

 private:
  void advance(uint64_t num_bytes);

  const RingView ring_;
  uint64_t consumed_ = 0;
  uint64_t record_bytes_ = 0;  // of the record shown, with its head
};

}  // namespace conclave
