// A weight matrix as it lies in the checkpoint: [num_rows, num_cols] = [out, in], row-major, in one
// of the stored number formats. A view; the mapped file or the loader owns the numbers.
//
// fp8 weights carry a grid of multipliers: the value at (n, k) is
//
//     to_f32(code) * scale[(first_row + n) / block_rows, k / block_cols]       rounded once to f32
//
// Blocks need not divide the shape; the last ones are smaller. `first_row` keeps the grid right for
// row ranges (one head of kv_b_proj, one expert of a fused tensor). Source: docs/models.md.
//
// int8 weights carry a grid too, of blocks one row high and kInt8Block columns wide
// (kernels/quantise.h). They are multiplied with activations that are quantised the same way.
#pragma once

#include <cstdint>

#include "common/check.h"
#include "common/dtype.h"
#include "kernels/quantise.h"

namespace conclave {

struct Weight {
  const void* data = nullptr;  // [num_rows, num_cols] of dtype, aligned to the element
  DType dtype = DType::kF32;
  int32_t num_rows = 0;
  int32_t num_cols = 0;

  // fp8 and int8 only, null otherwise.
  const float* scale = nullptr;  // [ceil(rows / block_rows), scale_cols]
  int32_t scale_cols = 0;        // ceil(num_cols / block_cols)
  int32_t block_rows = 0;
  int32_t block_cols = 0;
  int32_t first_row = 0;  // of this view inside the matrix that the grid covers

  const void* row(int64_t row_idx) const {
    return static_cast<const char*>(data) + row_idx * num_cols * dtype_bytes(dtype);
  }

  uint64_t num_bytes() const {
    return static_cast<uint64_t>(num_rows) * static_cast<uint64_t>(num_cols) *
           static_cast<uint64_t>(dtype_bytes(dtype));
  }

  // Rows [first, first + count) of this matrix.
  Weight rows(int32_t first, int32_t count) const {
    CHECK(first >= 0 && count >= 0);
    CHECK(first + count <= num_rows);
    Weight part = *this;
    part.data = row(first);
    part.num_rows = count;
    part.first_row = first_row + first;
    return part;
  }
};

// What every kernel asks of a weight matrix before it reads the first number.
inline void check_weight(const Weight& w) {
  CHECK(w.num_rows >= 0 && w.num_cols >= 0);
  if (!has_scales(w.dtype)) return;
  CHECK(w.block_rows > 0 && w.block_cols > 0);
  if (w.dtype == DType::kI8) {
    CHECK(w.block_rows == 1);
    CHECK(w.block_cols == kInt8Block);
  }
  CHECK(w.first_row >= 0);
  CHECK(w.scale != nullptr || w.num_bytes() == 0);
  CHECK(int64_t{w.scale_cols} * w.block_cols >= w.num_cols);
}

}  // namespace conclave
