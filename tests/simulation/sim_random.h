// Random numbers that are the same everywhere for the same seed: the standard's distributions are
// not, so these are our own.
#pragma once

#include <cstdint>
#include <random>

#include "absl/time/time.h"

namespace conclave {

class SimRandom {
 public:
  // Streams of one seed that have different salts have nothing to do with each other.
  SimRandom(uint64_t seed, uint64_t salt) : bits_(seed * 0x9e3779b97f4a7c15u + salt) {}

  // [0, sides)
  int32_t below(int32_t sides) {
    return static_cast<int32_t>(bits_() % static_cast<uint64_t>(sides));
  }
  // [first, last]
  int32_t between(int32_t first, int32_t last) { return first + below(last - first + 1); }

  // [0, 1)
  double fraction() { return static_cast<double>(bits_() >> 11) * 0x1p-53; }
  bool chance(double probability) { return fraction() < probability; }

  // In whole microseconds.
  absl::Duration duration(absl::Duration least, absl::Duration most) {
    return least + absl::Trunc(fraction() * (most - least), absl::Microseconds(1));
  }

 private:
  std::mt19937_64 bits_;
};

}  // namespace conclave
