// Two ways to the same bits.
//
// Few rows (decode): bound by reading w once. Weights are decoded in registers, a tile of w rows at
// a time, and every x tile passes over them while they are in the cache.
//
// Many rows (prefill): bound by multiply-adds. A panel of w is decoded to f32 once for a panel of x
// rows; both panels stay in L2 while tiles walk over them. K is walked in blocks, and between
// blocks the accumulators are kept as whole vectors, so that every chain goes on where it stopped.

#include <algorithm>
#include <vector>

#include "common/check.h"
#include "kernels/matmul.h"
#include "kernels/matmul_int8.h"
#include "kernels/simd/targets.h"
#include "kernels/work_cut.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul_cpu.cc"
#include "hwy/aligned_allocator.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/simd/stored_rows-inl.h"
#include "kernels/simd/tiles-inl.h"
#include "kernels/simd/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace conclave {
namespace HWY_NAMESPACE {

// Rows of x that still count as few. Decoding w again for each of their tiles, from the cache,
// costs less than writing it out once as f32.
constexpr int32_t kFewRows = 16;

// Panels of the second way: 256 KB of x, 128 KB of w, 128 KB of accumulators. The stride keeps the
// rows of a panel out of each other's cache sets.
constexpr int32_t kPanelRows = 64;
constexpr int32_t kPanelCols = 32;
constexpr int32_t kPanelDepth = 1024;
constexpr int32_t kPanelStride = kPanelDepth + 16;

template <int TR, int NR>
HWY_INLINE void store_sums(const Accumulators<TR, NR>& acc, const Rows<float>& out, int64_t t,
                           int64_t n) {
  for (int i = 0; i < TR; ++i) {
    for (int j = 0; j < NR; ++j) out.row(t + i)[n + j] = sum_of_lanes(acc[i][j]);
  }
}

template <int TR, int NR, class RowsOf>
HWY_NOINLINE void few_rows_tile(const MatmulArgs& args, RowsOf rows, int64_t t, int64_t n) {
  Accumulators<TR, NR> acc;
  clear<TR, NR>(acc);
  dot_tile<TR, NR>({args.x.row(t), args.x.stride}, rows, n, args.w.num_cols, acc);
  store_sums<TR, NR>(acc, args.out, t, n);
}

// Columns [begin, end) of out for at most kFewRows rows.
template <class RowsOf>
void few_rows(const MatmulArgs& args, RowsOf rows, int64_t begin, int64_t end) {
  if (args.x.num_rows == 1) {
    for_col_tiles<kWideCols>(begin, end, [&](int64_t n, auto cols) HWY_ATTR {
      few_rows_tile<1, cols.value>(args, rows, 0, n);
    });
    return;
  }
  for_col_tiles<kTileCols>(begin, end, [&](int64_t n, auto cols) HWY_ATTR {
    for_row_tiles<kTileRows>(args.x.num_rows, [&](int64_t t, auto tile_rows) HWY_ATTR {
      few_rows_tile<tile_rows.value, cols.value>(args, rows, t, n);
    });
  });
}

void MatmulFewRows(const MatmulArgs& args, int64_t begin, int64_t end) {
  switch (args.w.dtype) {
    case DType::kF32:
      return few_rows(args, plain_rows<float>(args.w), begin, end);
    case DType::kBF16:
      return few_rows(args, plain_rows<bf16>(args.w), begin, end);
    case DType::kF16:
      return few_rows(args, plain_rows<f16>(args.w), begin, end);
    case DType::kF8E4M3:
      return few_rows(args, ScaledRows{&args.w}, begin, end);
    case DType::kI8:
      CHECK(false && "int8 products have a file of their own");
  }
}

// Scratch of one thread, taken at its first panel and kept.
struct PanelScratch {
  HWY_ALIGN_MAX float w[kPanelCols * kPanelStride];
  HWY_ALIGN_MAX float acc[kPanelRows * kPanelCols * kLanes];
};

PanelScratch* panel_scratch() {
  static thread_local const hwy::AlignedUniquePtr<PanelScratch> scratch =
      hwy::MakeUniqueAligned<PanelScratch>();
  return scratch.get();
}

// One block of K for one panel of out.
struct PanelBlock {
  int64_t t = 0, num_rows = 0;
  int64_t n = 0, num_cols = 0;
  int64_t k = 0, num_k = 0;
  bool first = true, last = true;
};

template <int TR, int NR>
HWY_NOINLINE void panel_tile(const MatmulArgs& args, const PanelBlock& block, int64_t t, int64_t n,
                             PanelScratch* scratch) {
  Accumulators<TR, NR> acc;
  float* const kept = scratch->acc + (t * kPanelCols + n) * kLanes;
  for (int i = 0; i < TR; ++i) {
    for (int j = 0; j < NR; ++j) {
      acc[i][j] =
          block.first ? hn::Zero(kF32) : hn::Load(kF32, kept + (i * kPanelCols + j) * kLanes);
    }
  }
  const Strided x{args.x.row(block.t + t) + block.k, args.x.stride};
  const PlainRows<float> rows{scratch->w, kPanelStride};
  dot_tile<TR, NR>(x, rows, n, block.num_k, acc);
  if (block.last) return store_sums<TR, NR>(acc, args.out, block.t + t, block.n + n);
  for (int i = 0; i < TR; ++i) {
    for (int j = 0; j < NR; ++j) {
      hn::Store(acc[i][j], kF32, kept + (i * kPanelCols + j) * kLanes);
    }
  }
}

void panel_block(const MatmulArgs& args, const PanelBlock& block, PanelScratch* scratch) {
  for (int64_t n = 0; n < block.num_cols; ++n) {
    decode_weight_row(args.w, block.n + n, block.k, block.num_k, scratch->w + n * kPanelStride);
  }
  for_col_tiles<kTileCols>(0, block.num_cols, [&](int64_t n, auto cols) HWY_ATTR {
    for_row_tiles<kTileRows>(block.num_rows, [&](int64_t t, auto rows) HWY_ATTR {
      panel_tile<rows.value, cols.value>(args, block, t, n, scratch);
    });
  });
}

// The panel of out whose corner is (t, n).
void MatmulPanel(const MatmulArgs& args, int64_t t, int64_t n) {
  PanelScratch* const scratch = panel_scratch();
  const int64_t num_k = args.w.num_cols;
  PanelBlock block;
  block.t = t;
  block.num_rows = std::min<int64_t>(kPanelRows, args.x.num_rows - t);
  block.n = n;
  block.num_cols = std::min<int64_t>(kPanelCols, args.w.num_rows - n);
  for (block.k = 0; block.k < num_k; block.k += kPanelDepth) {
    block.num_k = std::min<int64_t>(kPanelDepth, num_k - block.k);
    block.first = block.k == 0;
    block.last = block.k + block.num_k == num_k;
    panel_block(args, block, scratch);
  }
}

// Whether the few rows' way takes this product.
bool MatmulIsFewRows(const MatmulArgs& args) {
  return args.x.num_rows <= kFewRows && blocks_are_vectors(args.w);
}

}  // namespace HWY_NAMESPACE
}  // namespace conclave
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace conclave {
namespace {

HWY_EXPORT(MatmulFewRows);
HWY_EXPORT(MatmulPanel);
HWY_EXPORT(MatmulIsFewRows);

// The same for both targets.
constexpr int64_t kPanelRows = HWY_STATIC_DISPATCH(kPanelRows);
constexpr int64_t kPanelCols = HWY_STATIC_DISPATCH(kPanelCols);
constexpr int64_t kColsPerUnit = HWY_STATIC_DISPATCH(kWideCols);

void check_args(const MatmulArgs& args) {
  CHECK(args.x.num_cols == args.w.num_cols);
  CHECK(args.out.num_rows == args.x.num_rows);
  CHECK(args.out.num_cols == args.w.num_rows);
  check_weight(args.w);
}

void zero(Rows<float> out) {
  for (int32_t t = 0; t < out.num_rows; ++t) std::fill_n(out.row(t), out.num_cols, 0.f);
}

int64_t ceil_units(int64_t n, int64_t unit) { return (n + unit - 1) / unit; }

void matmul_by_columns(const MatmulArgs& args, Executor* executor) {
  const int64_t num_cols = args.w.num_rows;
  const int64_t work = kColsPerUnit * args.w.num_cols * args.x.num_rows;
  const WorkCut cut = cut_work(ceil_units(num_cols, kColsPerUnit), work, *executor);
  const int64_t task_cols = cut.units_per_task * kColsPerUnit;
  executor->parallel_for(cut.num_tasks, [&](int64_t i) {
    const int64_t end = std::min(num_cols, (i + 1) * task_cols);
    HWY_DYNAMIC_DISPATCH(MatmulFewRows)(args, i * task_cols, end);
  });
}

void matmul_by_panels(const MatmulArgs& args, Executor* executor) {
  const int64_t panels_down = ceil_units(args.x.num_rows, kPanelRows);
  const int64_t panels_across = ceil_units(args.w.num_rows, kPanelCols);
  const int64_t rows = std::min<int64_t>(kPanelRows, args.x.num_rows);
  const int64_t work = rows * kPanelCols * args.w.num_cols;
  const WorkCut cut = cut_work(panels_down * panels_across, work, *executor);
  executor->parallel_for(cut.num_tasks, [&](int64_t i) {
    const int64_t end = std::min(panels_down * panels_across, (i + 1) * cut.units_per_task);
    for (int64_t p = i * cut.units_per_task; p < end; ++p) {
      // Down first: neighbours share the panel of w.
      const int64_t t = p % panels_down * kPanelRows;
      const int64_t n = p / panels_down * kPanelCols;
      HWY_DYNAMIC_DISPATCH(MatmulPanel)(args, t, n);
    }
  });
}

}  // namespace

void matmul(const MatmulArgs& args, Executor* executor) {
  check_args(args);
  if (args.x.num_rows == 0 || args.w.num_rows == 0) return;
  if (args.w.num_cols == 0) return zero(args.out);
  if (args.w.dtype == DType::kI8) return matmul_int8(args, executor);
  if (HWY_DYNAMIC_DISPATCH(MatmulIsFewRows)(args)) return matmul_by_columns(args, executor);
  matmul_by_panels(args, executor);
}

}  // namespace conclave
#endif  // HWY_ONCE
