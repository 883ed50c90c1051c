// One direction of a connection that goes through the proxy: the bytes that have come in and not
// gone out, and what a fault does to them on the way. No sockets and no clock of its own.
//
// A value of one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <random>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace conclave {

enum class Direction { kToServer, kToClient };

// What is wrong with a link, in both directions unless it says otherwise.
struct WireFault {
  enum class Kind {
    kNone,
    kDelay,      // every piece arrives later
    kStall,      // nothing moves, nothing is lost: it goes on when the fault is over
    kHalfOpen,   // what goes in one direction vanishes
    kCorrupt,    // single bits are flipped
    kPartition,  // everything vanishes, and who connects is refused
  };
  Kind kind = Kind::kNone;
  absl::Duration delay;                     // kDelay: at least so long,
  absl::Duration jitter;                    //   and up to so much longer; order is kept
  Direction silent = Direction::kToClient;  // kHalfOpen
  int64_t flip_every = 1;                   // kCorrupt: bytes per flipped bit, on average

  bool loses(Direction direction) const;
};

class FaultPipe {
 public:
  static constexpr size_t kMostWaitingBytes = size_t{1} << 20;

  FaultPipe(Direction direction, uint64_t seed) : direction_(direction), random_(seed) {}

  // Takes what came in. What a fault loses is gone for good.
  void take(std::string_view bytes, const WireFault& fault, absl::Time now);

  // The next bytes that may go out; empty: none now.
  std::string_view ready(const WireFault& fault, absl::Time now) const;
  void consume(size_t num_bytes);  // REQUIRES: so many were ready

  // When ready() has something, if nothing comes in before; infinite: never.
  absl::Time next_ready(const WireFault& fault) const;

  bool is_empty() const { return pieces_.empty(); }
  bool is_full() const { return num_waiting_ >= kMostWaitingBytes; }

  // The stream has a hole: nobody can go on with it once the fault is over.
  void lose() { has_lost_ = true; }
  bool has_lost() const { return has_lost_; }

  int64_t num_flipped() const { return num_flipped_; }

 private:
  struct Piece {
    std::string bytes;
    absl::Time due;
  };

  void flip(std::string* bytes, int64_t flip_every);

  const Direction direction_;
  std::mt19937_64 random_;
  std::deque<Piece> pieces_;
  size_t num_waiting_ = 0;
  size_t num_consumed_ = 0;  // of the first piece
  bool has_lost_ = false;
  int64_t until_flip_ = -1;  // bytes before the next flipped one; negative: not drawn yet
  int64_t num_flipped_ = 0;
};

}  // namespace conclave
