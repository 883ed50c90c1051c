// A task is one token and one group of heads. A page is a small matrix [tokens, R + P]; the queries
// of the group are the rows of a product with it, and their probabilities the rows of a product
// with its first R columns untransposed. So the two tiles of matmul do all the work, and a head's
// chains are the same whatever heads share its group.
//
// Bound by memory for few heads, by multiply-adds from about sixteen: a group reads a page from
// memory once and finds it in L2 the second time.

#include <algorithm>
#include <limits>
#include <vector>

#include "common/check.h"
#include "kernels/paged_mla.h"
#include "kernels/simd/targets.h"
#include "kernels/work_cut.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/paged_mla_cpu.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/simd/stored_rows-inl.h"
#include "kernels/simd/tiles-inl.h"
#include "kernels/simd/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace conclave {
namespace HWY_NAMESPACE {

// The heads [first_head, first_head + num_heads) of one token, and where their sums stand.
struct HeadGroup {
  Strided q;           // [num_heads, R + P]
  Rows<float> out;     // [num_heads, R]  unnormalised until the last page
  Rows<float> scores;  // [num_heads, B]  of this page, then its probabilities
  float* max;          // [num_heads]     over the pages so far
  float* sum;          // [num_heads]     of exp(score - max)
  float* rescale;      // [num_heads]     what the earlier pages' sums are worth under the new max
};

template <class RowsOf>
HWY_INLINE void score_page(const PagedMlaArgs& args, const HeadGroup& group, RowsOf rows,
                           int64_t num_keys) {
  for_col_tiles<kTileCols>(0, num_keys, [&](int64_t s, auto cols) HWY_ATTR {
    for_row_tiles<kTileRows>(group.scores.num_rows, [&](int64_t i, auto heads) HWY_ATTR {
      Accumulators<heads.value, cols.value> acc;
      clear<heads.value, cols.value>(acc);
      dot_tile<heads.value, cols.value>({group.q.row(i), group.q.stride}, rows, s,
                                        args.cache.num_cols, acc);
      for (int h = 0; h < heads.value; ++h) {
        for (int c = 0; c < cols.value; ++c) {
          group.scores.row(i + h)[s + c] = sum_of_lanes(acc[h][c]) * args.softmax_scale;
        }
      }
    });
  });
}

// The online softmax rule: the page's scores become exp(score - max) under the maximum so far.
HWY_INLINE void join_page(const HeadGroup& group, int64_t head, int64_t num_keys) {
  float* const score = group.scores.row(head);
  const float max = std::max(group.max[head], max_of(score, num_keys));
  const VecF32 shift = hn::Set(kF32, max);
  VecF32 sum = hn::Zero(kF32);
  const int64_t whole = whole_vectors(num_keys);
  for (int64_t s = 0; s < whole; s += kLanes) {
    const VecF32 p = exp_of(hn::Sub(hn::LoadU(kF32, score + s), shift));
    hn::StoreU(p, kF32, score + s);
    sum = hn::Add(sum, p);
  }
  if (whole < num_keys) {
    const int64_t rest = num_keys - whole;
    const VecF32 p = exp_of(hn::Sub(load_first(score + whole, rest), shift));
    store_first(p, score + whole, rest);
    const auto mask = hn::FirstN(kF32, static_cast<size_t>(rest));
    sum = hn::Add(sum, hn::IfThenElseZero(mask, p));
  }
  const float rescale = hn::GetLane(exp_of(hn::Sub(hn::Set(kF32, group.max[head]), shift)));
  group.rescale[head] = rescale;
  group.sum[head] = group.sum[head] * rescale + sum_of_lanes(sum);
  group.max[head] = max;
}

template <class RowsOf>
HWY_INLINE void add_page(const HeadGroup& group, RowsOf rows, int64_t num_keys) {
  const int64_t num_vectors = group.out.num_cols / kLanes;
  for_col_tiles<kTileCols>(0, num_vectors, [&](int64_t vector, auto cols) HWY_ATTR {
    for_row_tiles<kTileRows>(group.out.num_rows, [&](int64_t i, auto heads) HWY_ATTR {
      const int64_t k = vector * kLanes;
      Accumulators<heads.value, cols.value> acc;
      for (int h = 0; h < heads.value; ++h) {
        const VecF32 rescale = hn::Set(kF32, group.rescale[i + h]);
        for (int v = 0; v < cols.value; ++v) {
          acc[h][v] = hn::Mul(hn::LoadU(kF32, group.out.row(i + h) + k + v * kLanes), rescale);
        }
      }
      const Strided p{group.scores.row(i), group.scores.stride};
      sum_tile<heads.value, cols.value>(p, rows, num_keys, k, acc);
      for (int h = 0; h < heads.value; ++h) {
        for (int v = 0; v < cols.value; ++v) {
          hn::StoreU(acc[h][v], kF32, group.out.row(i + h) + k + v * kLanes);
        }
      }
    });
  });
}

// The columns of add_page() that do not fill a vector.
template <class RowsOf>
HWY_INLINE void add_page_last_cols(const HeadGroup& group, RowsOf rows, int64_t num_keys) {
  const int64_t k = whole_vectors(group.out.num_cols);
  const int64_t rest = group.out.num_cols - k;
  if (rest == 0) return;
  for (int64_t i = 0; i < group.out.num_rows; ++i) {
    Accumulators<1, 1> acc;
    acc[0][0] = hn::Mul(load_first(group.out.row(i) + k, rest), hn::Set(kF32, group.rescale[i]));
    const Strided p{group.scores.row(i), group.scores.stride};
    sum_tile_first<1>(p, rows, num_keys, k, rest, acc);
    store_first(acc[0][0], group.out.row(i) + k, rest);
  }
}

template <class Stored>
HWY_NOINLINE void attend(const PagedMlaArgs& args, const PagedQuery& query,
                         const HeadGroup& group) {
  const int64_t num_heads = group.out.num_rows;
  const int64_t page_tokens = args.page_tokens;
  const int64_t num_keys = int64_t{query.last} + 1;
  for (int64_t begin = 0; begin < num_keys; begin += page_tokens) {
    const int64_t page = query.pages[static_cast<size_t>(begin / page_tokens)];
    const int64_t keys_here = std::min(page_tokens, num_keys - begin);
    const PlainRows<Stored> rows{
        static_cast<const Stored*>(args.cache.data) + page * page_tokens * args.cache.num_cols,
        args.cache.num_cols};
    score_page(args, group, rows, keys_here);
    for (int64_t i = 0; i < num_heads; ++i) join_page(group, i, keys_here);
    add_page(group, rows, keys_here);
    add_page_last_cols(group, rows, keys_here);
  }
  for (int64_t i = 0; i < num_heads; ++i) {
    float* const out = group.out.row(i);
    for (int64_t k = 0; k < group.out.num_cols; ++k) out[k] /= group.sum[i];
  }
}

// Grown by the first task of its size on a thread, then kept.
HeadGroup make_group(const PagedMlaArgs& args, int64_t t, int32_t first, int32_t count) {
  static thread_local std::vector<float> scratch;
  const size_t num_floats =
      static_cast<size_t>(count) * (static_cast<size_t>(args.page_tokens) + 3);
  if (scratch.size() < num_floats) scratch.resize(num_floats);
  float* const scores = scratch.data();
  float* const max = scores + static_cast<size_t>(count) * static_cast<size_t>(args.page_tokens);
  HeadGroup group{.q = {args.q.row(t) + int64_t{first} * args.cache.num_cols, args.cache.num_cols},
                  .out = {args.out.row(t) + int64_t{first} * args.latent_cols, count,
                          args.latent_cols, args.latent_cols},
                  .scores = {scores, count, args.page_tokens, args.page_tokens},
                  .max = max,
                  .sum = max + count,
                  .rescale = max + 2 * count};
  std::fill_n(group.out.data, int64_t{count} * args.latent_cols, 0.f);
  std::fill_n(group.max, count, -std::numeric_limits<float>::infinity());
  std::fill_n(group.sum, count, 0.f);
  return group;
}

void AttendGroup(const PagedMlaArgs& args, int64_t t, int32_t first, int32_t count) {
  const HeadGroup group = make_group(args, t, first, count);
  const PagedQuery& query = args.queries[static_cast<size_t>(t)];
  if (args.cache.dtype == DType::kF32) return attend<float>(args, query, group);
  attend<bf16>(args, query, group);
}

}  // namespace HWY_NAMESPACE
}  // namespace conclave
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace conclave {
namespace {

HWY_EXPORT(AttendGroup);

// A page of 64 rows in bf16 fills 72 KB of L2; sixteen heads' queries and sums take as much again.
constexpr int32_t kLargestGroup = 16;
constexpr int32_t kSmallestGroup = 4;

void check_args(const PagedMlaArgs& args) {
  const int64_t num_tokens = static_cast<int64_t>(args.queries.size());
  CHECK(args.cache.dtype == DType::kF32 || args.cache.dtype == DType::kBF16);
  CHECK(args.num_heads > 0);
  CHECK(args.latent_cols > 0);
  CHECK(args.page_tokens > 0);
  CHECK(args.latent_cols <= args.cache.num_cols);
  CHECK(args.q.num_rows == num_tokens);
  CHECK(args.out.num_rows == num_tokens);
  CHECK(args.q.num_cols == int64_t{args.num_heads} * args.cache.num_cols);
  CHECK(args.out.num_cols == int64_t{args.num_heads} * args.latent_cols);
  for (const PagedQuery& query : args.queries) {
    CHECK(query.last >= 0);
    CHECK(static_cast<int64_t>(query.pages.size()) > query.last / args.page_tokens);
  }
}

// Large groups read the cache less often; small ones keep more threads busy.
int32_t heads_per_group(const PagedMlaArgs& args, const Executor& executor) {
  const int64_t num_tokens = static_cast<int64_t>(args.queries.size());
  int32_t heads = kLargestGroup;
  while (heads > kSmallestGroup &&
         num_tokens * ((args.num_heads + heads - 1) / heads) < 2 * executor.num_threads()) {
    heads /= 2;
  }
  return executor.num_threads() == 1 ? kLargestGroup : heads;
}

int64_t work_per_group(const PagedMlaArgs& args, int32_t group_heads) {
  int64_t num_keys = 0;
  for (const PagedQuery& query : args.queries) num_keys += query.last + 1;
  const int64_t mean_keys = num_keys / static_cast<int64_t>(args.queries.size());
  return mean_keys * std::min(group_heads, args.num_heads) *
         (int64_t{args.cache.num_cols} + args.latent_cols);
}

}  // namespace

void paged_mla(const PagedMlaArgs& args, Executor* executor) {
  check_args(args);
  if (args.queries.empty()) return;
  const int32_t group_heads = heads_per_group(args, *executor);
  const int64_t groups = (args.num_heads + group_heads - 1) / group_heads;
  const int64_t num_groups = groups * static_cast<int64_t>(args.queries.size());
  const WorkCut cut = cut_work(num_groups, work_per_group(args, group_heads), *executor);
  executor->parallel_for(cut.num_tasks, [&](int64_t i) {
    const int64_t end = std::min(num_groups, (i + 1) * cut.units_per_task);
    for (int64_t g = i * cut.units_per_task; g < end; ++g) {
      const int32_t first = static_cast<int32_t>(g % groups) * group_heads;
      const int32_t count = std::min(group_heads, args.num_heads - first);
      HWY_DYNAMIC_DISPATCH(AttendGroup)(args, g / groups, first, count);
    }
  });
}

}  // namespace conclave
#endif  // HWY_ONCE
