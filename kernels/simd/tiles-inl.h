// The two inner loops that matmul, matmul_t and paged_mla are made of.
//
//   dot_tile    acc[t][n] += x[t, k] * w[n, k]    over k; lanes are neighbouring k
//   sum_tile    acc[t][v] += x[t, n] * w[n, k]    over n; lanes are neighbouring k
//
// An accumulator is one chain of fused multiply-adds in ascending order. A tile is only how many
// chains run side by side, to reuse what was loaded and to hide latency, so its shape cannot change
// a bit.

#include "kernels/simd/targets.h"

#if defined(CONCLAVE_KERNELS_SIMD_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CONCLAVE_KERNELS_SIMD_TILES_INL_H_
#undef CONCLAVE_KERNELS_SIMD_TILES_INL_H_
#else
#define CONCLAVE_KERNELS_SIMD_TILES_INL_H_
#endif

#include <cstdint>

#include "kernels/simd/stored_rows-inl.h"
#include "kernels/simd/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace conclave {
namespace HWY_NAMESPACE {

// Tiles for several rows: as many accumulators as registers hold beside the operands (16 or 32).
inline constexpr int kTileRows = 4;
inline constexpr int kTileCols = kLanes == 16 ? 4 : 2;
// For one row alone: enough chains to hide the latency of a multiply-add.
inline constexpr int kWideCols = 8;

// Float rows that are not necessarily the rows of a matrix: heads of one token, for instance.
struct Strided {
  const float* data;
  int64_t stride;

  HWY_INLINE const float* row(int64_t t) const { return data + t * stride; }
};

template <int TR, int NR>
using Accumulators = VecF32[TR][NR];

template <int TR, int NR>
HWY_INLINE void clear(Accumulators<TR, NR>& acc) {
  for (int t = 0; t < TR; ++t) {
    for (int n = 0; n < NR; ++n) acc[t][n] = hn::Zero(kF32);
  }
}

template <int TR, int NR, class LoadX, class LoadW>
HWY_INLINE void dot_step(LoadX load_x, LoadW load_w, Accumulators<TR, NR>& acc) {
  VecF32 w[NR];
  for (int n = 0; n < NR; ++n) w[n] = load_w(n);
  for (int t = 0; t < TR; ++t) {
    const VecF32 x = load_x(t);
    for (int n = 0; n < NR; ++n) acc[t][n] = hn::MulAdd(x, w[n], acc[t][n]);
  }
}

// x.row(0 .. TR) against rows.row(n0 .. n0 + NR), over k in [0, num_k).
template <int TR, int NR, class RowsOf>
HWY_INLINE void dot_tile(Strided x, RowsOf rows, int64_t n0, int64_t num_k,
                         Accumulators<TR, NR>& acc) {
  typename RowsOf::Row w[NR];
  for (int n = 0; n < NR; ++n) w[n] = rows.row(n0 + n);
  for (int64_t k = 0; k < num_k;) {
    for (int n = 0; n < NR; ++n) w[n].enter(k);
    const int64_t block_end = w[0].block_end(k);
    const int64_t end = block_end < num_k ? block_end : num_k;
    for (; k + kLanes <= end; k += kLanes) {
      dot_step<TR, NR>([&](int t) HWY_ATTR { return hn::LoadU(kF32, x.row(t) + k); },
                       [&](int n) HWY_ATTR { return w[n].load(k); }, acc);
    }
    if (k == end) continue;
    const int64_t rest = end - k;  // only the last columns do not fill a vector
    dot_step<TR, NR>([&](int t) HWY_ATTR { return load_first(x.row(t) + k, rest); },
                     [&](int n) HWY_ATTR { return w[n].load_first(k, rest); }, acc);
    return;
  }
}

// x[0 .. TR, 0 .. num_n) against columns k, k + kLanes, .. of the rows 0 .. num_n.
template <int TR, int KV, class RowsOf>
HWY_INLINE void sum_tile(Strided x, RowsOf rows, int64_t num_n, int64_t k,
                         Accumulators<TR, KV>& acc) {
  for (int64_t n = 0; n < num_n; ++n) {
    const typename RowsOf::Row row = rows.row(n);
    VecF32 w[KV];
    for (int v = 0; v < KV; ++v) w[v] = row.load(k + v * kLanes);
    for (int t = 0; t < TR; ++t) {
      const VecF32 factor = hn::Set(kF32, x.row(t)[n]);
      for (int v = 0; v < KV; ++v) acc[t][v] = hn::MulAdd(factor, w[v], acc[t][v]);
    }
  }
}

// The same for the last `count` < kLanes columns.
template <int TR, class RowsOf>
HWY_INLINE void sum_tile_first(Strided x, RowsOf rows, int64_t num_n, int64_t k, int64_t count,
                               Accumulators<TR, 1>& acc) {
  for (int64_t n = 0; n < num_n; ++n) {
    const VecF32 w = rows.row(n).load_first(k, count);
    for (int t = 0; t < TR; ++t) {
      acc[t][0] = hn::MulAdd(hn::Set(kF32, x.row(t)[n]), w, acc[t][0]);
    }
  }
}

// Calls tile(t, rows) over [0, num_rows): `Rows` at a time and then the rest in one. `rows` is a
// constant of the type, so that a tile of fewer rows is code of its own.
template <int N>
struct Count {
  static constexpr int value = N;
};

template <int Rows, class Tile>
HWY_INLINE void for_last_rows(int64_t t, int64_t num_left, Tile tile) {
  if constexpr (Rows > 0) {
    if (num_left == Rows) return tile(t, Count<Rows>());
    for_last_rows<Rows - 1>(t, num_left, tile);
  }
}

template <int Rows, class Tile>
HWY_INLINE void for_row_tiles(int64_t num_rows, Tile tile) {
  int64_t t = 0;
  for (; t + Rows <= num_rows; t += Rows) tile(t, Count<Rows>());
  for_last_rows<Rows - 1>(t, num_rows - t, tile);
}

// Calls tile(n, cols) over [begin, end): `Cols` at a time and then one by one.
template <int Cols, class Tile>
HWY_INLINE void for_col_tiles(int64_t begin, int64_t end, Tile tile) {
  int64_t n = begin;
  for (; n + Cols <= end; n += Cols) tile(n, Count<Cols>());
  for (; n < end; ++n) tile(n, Count<1>());
}

}  // namespace HWY_NAMESPACE
}  // namespace conclave
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
