// The parts of an int8 product (matmul.h), for matmul() and for the instruction sets that compute
// it: activations are quantised once, and columns of the output are then independent.
#pragma once

#include <cstdint>

#include "common/executor.h"
#include "common/rows.h"
#include "kernels/matmul.h"
#include "kernels/weight.h"

namespace conclave {

// Rows of activations as int8; the codes of a row are padded with zeros to whole blocks.
struct Int8Rows {
  const int8_t* codes = nullptr;  // [num_rows, num_blocks * kInt8Block]
  const float* scale = nullptr;   // [num_rows, num_blocks]
  const int32_t* sum = nullptr;   // [num_rows, num_blocks] of a block's codes
  int32_t num_rows = 0;
  int64_t num_blocks = 0;

  const int8_t* row(int64_t t) const { return codes + t * num_blocks * kInt8Block; }
};

struct Int8Product {
  Int8Rows x;
  Weight w;
  Rows<float> out;
};

// Columns [begin, end) of out. The same bits from both; the second where has_int8_dot() says so.
void int8_columns_avx2(const Int8Product& product, int64_t begin, int64_t end);
void int8_columns_vnni(const Int8Product& product, int64_t begin, int64_t end);

// matmul() of a checked int8 weight without empty sides.
void matmul_int8(const MatmulArgs& args, Executor* executor);

}  // namespace conclave
