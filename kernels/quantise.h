// int8 numbers with one f32 scale per kInt8Block neighbours of a row, weights and activations
// alike:
//
//     scale = largest |x| of the block / 127          code = x / scale, rounded to the nearest,
//                                                            ties to even; in [-127, 127]
//
// A block whose scale would be no normal number (all zeros, or next to it) has scale 0 and codes 0.
// A block with NaN or infinity has scale NaN and codes 0, so that whatever is computed from it
// shows.
//
// Every operation is exact or rounded once, so the result has the same bits on every machine.
// Thread-safe: no state.
#pragma once

#include <cstdint>

namespace conclave {

struct Weight;

inline constexpr int32_t kInt8Block = 128;

inline int32_t num_int8_blocks(int32_t num_cols) {
  return num_cols / kInt8Block + (num_cols % kInt8Block != 0 ? 1 : 0);
}

// codes [num_cols], scale [ceil(num_cols / kInt8Block)]. Returns whether all numbers are finite.
bool quantise_row(const float* x, int64_t num_cols, int8_t* codes, float* scale);

// The same for row `n` of a weight in any format but int8, by its values as f32.
bool quantise_weight_row(const Weight& w, int64_t n, int8_t* codes, float* scale);

}  // namespace conclave
