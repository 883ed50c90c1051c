// Rows between f32 in the engine and the format of a wire or a cache. Packed: row-major without
// padding, every row of a type packed_row_bytes() long.
//
//   f32    as they are
//   bf16   rounded to nearest, ties to even
//   fp8    num_cols E4M3 codes, then ceil(num_cols / kFp8Block) f32 scales, one for each run of
//          kFp8Block columns, of which the last may be shorter. As the makers quantise what goes
//          into a product (act_quant):
//
//              scale = max(largest |x| of the run, kLeastFp8Magnitude) / 448
//              code  = x / scale, clamped to [-448, 448], to the nearest, ties to the even code
//
//          so a run of zeros has codes 0. A run with NaN or infinity has scale NaN and codes 0, so
//          that whatever is computed from it shows. What a code means is code * scale, in f32.
//
// Every operation is exact or rounded once, so packed and unpacked rows have the same bits on every
// machine. Bytes have no alignment, scales neither. Thread-safe: no state.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/dtype.h"
#include "common/rows.h"

namespace conclave {

inline constexpr int32_t kFp8Block = 128;
inline constexpr float kLeastFp8Magnitude = 1e-4f;
inline constexpr float kMostFp8 = 448.f;

// Whether rows can be packed as `dtype`: f32, bf16 or fp8.
constexpr bool is_row_type(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF8E4M3;
}

// Whether experts answer in `dtype`: f32 or bf16. Their rows are added up, and fp8 is too coarse.
constexpr bool is_reply_type(DType dtype) { return dtype == DType::kF32 || dtype == DType::kBF16; }

// Bytes of one packed row. REQUIRES: is_row_type(dtype), num_cols >= 0
size_t packed_row_bytes(DType dtype, int32_t num_cols);

// Writes rows.num_rows * packed_row_bytes(dtype, rows.num_cols) bytes to `packed`.
void pack_rows(Rows<const float> rows, DType dtype, std::byte* packed);

// Reads them back: exactly in f32 and bf16, code * scale in fp8, whatever codes and scales are.
void unpack_rows(const std::byte* packed, DType dtype, Rows<float> rows);

}  // namespace conclave
