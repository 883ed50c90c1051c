// The loops of an int8 product, compiled once per instruction set: the file that includes this is
// in the set's target region, and its nameless namespace has
//
//   kStepBytes, kTileRows            codes that one vector holds, rows of x that a tile takes
//   Codes, Sums, Factor              vectors of codes, of int32, and of w's codes made ready
//   load_codes(from), make_factor(codes), no_sums()
//   add_products(sums, factor, x)    sums += products of neighbouring codes
//   sums_of_four(sums[4], x_sum)     the four dot products, in 128 bits; x_sum is the sum of x's
//                                    codes, for sets that multiply with w + 128
//
// A tile is kTileRows rows of x by four rows of w. A block's dot products are integers, below 2^24
// and so exact as f32 too; what is rounded is one product of scales and one fused multiply-add a
// block, in ascending order of blocks. No tile and no set can change a bit.

#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "hwy/base.h"
#include "kernels/matmul_int8.h"
#include "kernels/quantise.h"
#include "kernels/weight.h"

namespace conclave {
namespace {

constexpr int kTileCols = 4;
constexpr int64_t kPanelRows = 64;  // of x, which stay in the L2 cache while w passes by

// Four rows of w, the last one again where there are fewer.
struct FourRows {
  const int8_t* codes[kTileCols];
  const float* scale[kTileCols];
};

HWY_INLINE FourRows four_rows(const Weight& w, int64_t n) {
  FourRows rows;
  for (int64_t j = 0; j < kTileCols; ++j) {
    const int64_t row = n + j < w.num_rows ? n + j : w.num_rows - 1;
    rows.codes[j] = static_cast<const int8_t*>(w.data) + row * w.num_cols;
    rows.scale[j] = w.scale + (w.first_row + row) * w.scale_cols;
  }
  return rows;
}

// `w` and `x` are at a whole block; codes of x lie `x_stride` apart.
template <int TR>
HWY_INLINE void multiply_block(const int8_t* const (&w)[kTileCols], const int8_t* x,
                               int64_t x_stride, Sums (&sums)[TR][kTileCols]) {
  for (int i = 0; i < TR; ++i) {
    for (int j = 0; j < kTileCols; ++j) sums[i][j] = no_sums();
  }
  for (int k = 0; k < kInt8Block; k += kStepBytes) {
    Codes from_x[TR];
    for (int i = 0; i < TR; ++i) from_x[i] = load_codes(x + i * x_stride + k);
    for (int j = 0; j < kTileCols; ++j) {
      const Factor factor = make_factor(load_codes(w[j] + k));
      for (int i = 0; i < TR; ++i) sums[i][j] = add_products(sums[i][j], factor, from_x[i]);
    }
  }
}

// Adds block `b` of rows t .. t + TR to `out`.
template <int TR>
HWY_INLINE void add_block(const Int8Rows& x, int64_t t, int64_t b,
                          const int8_t* const (&w)[kTileCols], const FourRows& rows,
                          __m128 (&out)[TR]) {
  Sums sums[TR][kTileCols];
  multiply_block<TR>(w, x.row(t) + b * kInt8Block, x.num_blocks * kInt8Block, sums);
  const __m128 w_scale =
      _mm_setr_ps(rows.scale[0][b], rows.scale[1][b], rows.scale[2][b], rows.scale[3][b]);
  for (int i = 0; i < TR; ++i) {
    const int64_t at = (t + i) * x.num_blocks + b;
    const __m128 scale = _mm_mul_ps(_mm_set1_ps(x.scale[at]), w_scale);
    const __m128 dot = _mm_cvtepi32_ps(sums_of_four(sums[i], x.sum[at]));
    out[i] = _mm_fmadd_ps(dot, scale, out[i]);
  }
}

template <int TR>
HWY_NOINLINE void int8_tile(const Int8Product& product, int64_t t, int64_t n, int64_t end) {
  const Int8Rows& x = product.x;
  const FourRows rows = four_rows(product.w, n);
  const int64_t num_whole = product.w.num_cols / kInt8Block;
  __m128 out[TR];
  for (int i = 0; i < TR; ++i) out[i] = _mm_setzero_ps();
  for (int64_t b = 0; b < num_whole; ++b) {
    const int8_t* w[kTileCols];
    for (int j = 0; j < kTileCols; ++j) w[j] = rows.codes[j] + b * kInt8Block;
    add_block<TR>(x, t, b, w, rows, out);
  }
  if (num_whole < x.num_blocks) {  // the last columns, from a padded copy
    alignas(64) int8_t padded[kTileCols][kInt8Block] = {};
    const int8_t* w[kTileCols];
    const int64_t rest = product.w.num_cols - num_whole * kInt8Block;
    for (int j = 0; j < kTileCols; ++j) {
      std::memcpy(padded[j], rows.codes[j] + num_whole * kInt8Block, static_cast<size_t>(rest));
      w[j] = padded[j];
    }
    add_block<TR>(x, t, num_whole, w, rows, out);
  }
  const int64_t num_cols = end - n < kTileCols ? end - n : kTileCols;
  for (int i = 0; i < TR; ++i) {
    float four[kTileCols];
    _mm_storeu_ps(four, out[i]);
    std::memcpy(product.out.row(t + i) + n, four, static_cast<size_t>(num_cols) * sizeof(float));
  }
}

// Rows [t, end) in tiles of TR, then of fewer.
template <int TR>
HWY_INLINE int64_t int8_tiles(const Int8Product& product, int64_t t, int64_t t_end, int64_t n,
                              int64_t end) {
  for (; t + TR <= t_end; t += TR) int8_tile<TR>(product, t, n, end);
  if constexpr (TR > 1) return int8_tiles<TR / 2>(product, t, t_end, n, end);
  return t;
}

void int8_columns(const Int8Product& product, int64_t begin, int64_t end) {
  for (int64_t t = 0; t < product.x.num_rows; t += kPanelRows) {
    const int64_t t_end = t + kPanelRows < product.x.num_rows ? t + kPanelRows : product.x.num_rows;
    for (int64_t n = begin; n < end; n += kTileCols) {
      int8_tiles<kTileRows>(product, t, t_end, n, end);
    }
  }
}

}  // namespace
}  // namespace conclave
