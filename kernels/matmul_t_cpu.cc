// Columns of w lie across the lanes and a chain runs down the rows, so no lane is ever added to
// another and K needs no padding. fp8 rows are decoded to f32 a panel at a time first; the other
// formats are decoded in registers. out itself keeps the accumulators between panels.

#include <algorithm>

#include "common/check.h"
#include "kernels/matmul.h"
#include "kernels/simd/targets.h"
#include "kernels/work_cut.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul_t_cpu.cc"
#include "hwy/aligned_allocator.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/simd/stored_rows-inl.h"
#include "kernels/simd/tiles-inl.h"
#include "kernels/simd/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace conclave {
namespace HWY_NAMESPACE {

constexpr int32_t kPanelRowsT = 128;  // of w
constexpr int32_t kUnitCols = 128;    // 64 KB a panel

// out[:, k] of the columns of one task goes on from what it holds, or starts at 0.
struct SumArgs {
  Strided x;  // at the first row of w in this panel
  Rows<float> out;
  int64_t num_n = 0;
  int64_t first_col = 0;  // of the panel, where its rows do not start at column 0
  bool first = true;
};

template <int TR, int KV>
HWY_INLINE void load_sums(const SumArgs& args, int64_t t, int64_t k, Accumulators<TR, KV>& acc) {
  if (args.first) return clear<TR, KV>(acc);
  for (int i = 0; i < TR; ++i) {
    for (int v = 0; v < KV; ++v) {
      acc[i][v] = hn::LoadU(kF32, args.out.row(t + i) + k + v * kLanes);
    }
  }
}

template <int TR, int KV, class RowsOf>
HWY_NOINLINE void whole_tile(const SumArgs& args, RowsOf rows, int64_t t, int64_t k) {
  Accumulators<TR, KV> acc;
  load_sums<TR, KV>(args, t, k, acc);
  const Strided x{args.x.row(t), args.x.stride};
  sum_tile<TR, KV>(x, rows, args.num_n, k - args.first_col, acc);
  for (int i = 0; i < TR; ++i) {
    for (int v = 0; v < KV; ++v) {
      hn::StoreU(acc[i][v], kF32, args.out.row(t + i) + k + v * kLanes);
    }
  }
}

template <class RowsOf>
HWY_NOINLINE void last_cols(const SumArgs& args, RowsOf rows, int64_t k, int64_t count) {
  for (int64_t t = 0; t < args.out.num_rows; ++t) {
    float* const out = args.out.row(t) + k;
    Accumulators<1, 1> acc;
    acc[0][0] = args.first ? hn::Zero(kF32) : load_first(out, count);
    const Strided x{args.x.row(t), args.x.stride};
    sum_tile_first<1>(x, rows, args.num_n, k - args.first_col, count, acc);
    store_first(acc[0][0], out, count);
  }
}

// Columns [begin, end) of out; only the matrix's last ones may not fill a vector.
template <class RowsOf>
void sum_columns(const SumArgs& args, RowsOf rows, int64_t begin, int64_t end) {
  const int64_t num_vectors = (end - begin) / kLanes;
  if (args.out.num_rows == 1) {
    for_col_tiles<kWideCols>(0, num_vectors, [&](int64_t v, auto cols) HWY_ATTR {
      whole_tile<1, cols.value>(args, rows, 0, begin + v * kLanes);
    });
  } else {
    for_col_tiles<kTileCols>(0, num_vectors, [&](int64_t v, auto cols) HWY_ATTR {
      for_row_tiles<kTileRows>(args.out.num_rows, [&](int64_t t, auto tile_rows) HWY_ATTR {
        whole_tile<tile_rows.value, cols.value>(args, rows, t, begin + v * kLanes);
      });
    });
  }
  const int64_t rest = begin + num_vectors * kLanes;
  if (rest < end) last_cols(args, rows, rest, end - rest);
}

void sum_scaled_columns(const MatmulArgs& args, int64_t begin, int64_t end) {
  struct Scratch {
    HWY_ALIGN_MAX float w[kPanelRowsT * kUnitCols];
  };
  static thread_local const hwy::AlignedUniquePtr<Scratch> scratch =
      hwy::MakeUniqueAligned<Scratch>();
  const int64_t num_n = args.w.num_rows;
  for (int64_t k = begin; k < end; k += kUnitCols) {
    const int64_t num_k = std::min<int64_t>(kUnitCols, end - k);
    for (int64_t n = 0; n < num_n; n += kPanelRowsT) {
      const int64_t num_rows = std::min<int64_t>(kPanelRowsT, num_n - n);
      for (int64_t i = 0; i < num_rows; ++i) {
        decode_weight_row(args.w, n + i, k, num_k, scratch->w + i * kUnitCols);
      }
      const SumArgs panel{.x = {args.x.data + n, args.x.stride},
                          .out = args.out,
                          .num_n = num_rows,
                          .first_col = k,
                          .first = n == 0};
      sum_columns(panel, PlainRows<float>{scratch->w, kUnitCols}, k, k + num_k);
    }
  }
}

// REQUIRES: begin a multiple of kUnitCols
void MatmulTColumns(const MatmulArgs& args, int64_t begin, int64_t end) {
  const SumArgs whole{.x = {args.x.data, args.x.stride}, .out = args.out, .num_n = args.w.num_rows};
  switch (args.w.dtype) {
    case DType::kF32:
      return sum_columns(whole, plain_rows<float>(args.w), begin, end);
    case DType::kBF16:
      return sum_columns(whole, plain_rows<bf16>(args.w), begin, end);
    case DType::kF16:
      return sum_columns(whole, plain_rows<f16>(args.w), begin, end);
    case DType::kF8E4M3:
      return sum_scaled_columns(args, begin, end);
    case DType::kI8:
      CHECK(false && "no transposed product of int8");
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace conclave
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace conclave {
namespace {

HWY_EXPORT(MatmulTColumns);

constexpr int64_t kUnitCols = HWY_STATIC_DISPATCH(kUnitCols);

}  // namespace

void matmul_t(const MatmulArgs& args, Executor* executor) {
  CHECK(args.x.num_cols == args.w.num_rows);
  CHECK(args.out.num_rows == args.x.num_rows);
  CHECK(args.out.num_cols == args.w.num_cols);
  check_weight(args.w);
  const int64_t num_cols = args.w.num_cols;
  if (args.x.num_rows == 0 || num_cols == 0) return;
  if (args.w.num_rows == 0) {
    for (int32_t t = 0; t < args.out.num_rows; ++t) std::fill_n(args.out.row(t), num_cols, 0.f);
    return;
  }
  const int64_t num_units = (num_cols + kUnitCols - 1) / kUnitCols;
  const int64_t work = kUnitCols * args.w.num_rows * args.x.num_rows;
  const WorkCut cut = cut_work(num_units, work, *executor);
  executor->parallel_for(cut.num_tasks, [&](int64_t i) {
    const int64_t begin = i * cut.units_per_task * kUnitCols;
    const int64_t end = std::min(num_cols, begin + cut.units_per_task * kUnitCols);
    HWY_DYNAMIC_DISPATCH(MatmulTColumns)(args, begin, end);
  });
}

}  // namespace conclave
#endif  // HWY_ONCE
