// Philox4x32-10: random numbers without a state. Salmon, Moraes, Dror and Shaw, "Parallel random
// numbers: as easy as 1, 2, 3" (SC'11), with the constants of their Random123 library.
//
// The n-th number of a sequence is a function of (key, n) alone, so nothing has to be saved, moved
// or replayed when a request goes on elsewhere. Thread-safe: no state.
#pragma once

#include <array>
#include <cstdint>

namespace conclave {

using PhiloxBlock = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;

PhiloxBlock philox4x32_10(PhiloxBlock counter, PhiloxKey key);

// The number in [0, 1) that draws the id at `position` of a sequence; a multiple of 2^-53.
//
//   key     = { low word of seed, high word of seed }
//   counter = { low word of position, high word of position, 0, 0 }
//   value   = ((r[1] * 2^32 + r[0]) >> 11) * 2^-53           r: the block that comes out
//
// REQUIRES: position >= 0
double uniform_at(uint64_t seed, int64_t position);

}  // namespace conclave
