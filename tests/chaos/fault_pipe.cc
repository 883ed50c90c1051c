#include "tests/chaos/fault_pipe.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace conclave {

bool WireFault::loses(Direction direction) const {
  return kind == Kind::kPartition || (kind == Kind::kHalfOpen && direction == silent);
}

void FaultPipe::take(std::string_view bytes, const WireFault& fault, absl::Time now) {
  if (fault.loses(direction_)) {
    lose();
    return;
  }
  Piece piece{.bytes = std::string(bytes), .due = now};
  if (fault.kind == WireFault::Kind::kCorrupt) flip(&piece.bytes, fault.flip_every);
  if (fault.kind == WireFault::Kind::kDelay) {
    piece.due += fault.delay + fault.jitter * std::uniform_real_distribution<>()(random_);
    if (!pieces_.empty()) piece.due = std::max(piece.due, pieces_.back().due);
  }
  num_waiting_ += piece.bytes.size();
  pieces_.push_back(std::move(piece));
}

void FaultPipe::flip(std::string* bytes, int64_t flip_every) {
  std::exponential_distribution<> gap(1.0 / static_cast<double>(flip_every));
  if (until_flip_ < 0) until_flip_ = static_cast<int64_t>(gap(random_));
  const auto size = static_cast<int64_t>(bytes->size());
  while (until_flip_ < size) {
    char& byte = (*bytes)[static_cast<size_t>(until_flip_)];
    byte = static_cast<char>(byte ^ (1 << (random_() % 8)));
    ++num_flipped_;
    until_flip_ += 1 + static_cast<int64_t>(gap(random_));
  }
  until_flip_ -= size;
}

std::string_view FaultPipe::ready(const WireFault& fault, absl::Time now) const {
  const bool is_held = fault.kind == WireFault::Kind::kStall || fault.loses(direction_);
  if (is_held || pieces_.empty() || pieces_.front().due > now) return {};
  return std::string_view(pieces_.front().bytes).substr(num_consumed_);
}

void FaultPipe::consume(size_t num_bytes) {
  CHECK(!pieces_.empty());
  num_consumed_ += num_bytes;
  num_waiting_ -= num_bytes;
  CHECK(num_consumed_ <= pieces_.front().bytes.size());
  if (num_consumed_ < pieces_.front().bytes.size()) return;
  pieces_.pop_front();
  num_consumed_ = 0;
}

absl::Time FaultPipe::next_ready(const WireFault& fault) const {
  const bool is_held = fault.kind == WireFault::Kind::kStall || fault.loses(direction_);
  return is_held || pieces_.empty() ? absl::InfiniteFuture() : pieces_.front().due;
}

}  // namespace conclave
