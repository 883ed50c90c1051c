// Absorbed attention over a long cache, DeepSeek's row of 512 + 64 numbers. Few heads run against
// the read limit (the cache is read once a token), many against the FMA limit.
//
//   paged_mla/<dtype>/keys:<last + 1>/heads:<H>/T:<tokens>/threads:<n>

#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "bench/kernels/kernel_bench.h"
#include "benchmark/benchmark.h"
#include "common/thread_pool.h"
#include "kernels/paged_mla.h"

namespace conclave {
namespace {

constexpr int32_t kLatentCols = 512;
constexpr int32_t kRowCols = 576;
constexpr int32_t kPageTokens = 64;

struct Case {
  DType dtype = DType::kBF16;
  int32_t num_keys = 0;
  int32_t num_heads = 0;
  int32_t num_tokens = 1;  // sequences of their own, each with its own pages
  int32_t num_threads = 1;
};

void run_case(benchmark::State& state, const Case& c) {
  ThreadPool pool(c.num_threads);
  const ComputeLimits& limits = limits_of(&pool);
  const int32_t pages_each = (c.num_keys + kPageTokens - 1) / kPageTokens;
  const size_t num_numbers =
      static_cast<size_t>(c.num_tokens) * static_cast<size_t>(pages_each * kPageTokens * kRowCols);
  // 0x3C in every byte is a modest positive number in both formats.
  const std::vector<char> cache(num_numbers * static_cast<size_t>(dtype_bytes(c.dtype)), 0x3C);
  std::vector<int32_t> pages(static_cast<size_t>(c.num_tokens * pages_each));
  std::iota(pages.begin(), pages.end(), 0);
  std::shuffle(pages.begin(), pages.end(), std::mt19937(1));
  std::vector<PagedQuery> queries;
  for (int32_t t = 0; t < c.num_tokens; ++t) {
    const auto mine = std::span(pages).subspan(static_cast<size_t>(t * pages_each),
                                               static_cast<size_t>(pages_each));
    queries.push_back({mine, c.num_keys - 1});
  }
  Matrix<float> q(c.num_tokens, c.num_heads * kRowCols);
  Matrix<float> out(c.num_tokens, c.num_heads * kLatentCols);
  for (auto _ : state) {
    paged_mla({.cache = {cache.data(), c.dtype, kRowCols},
               .queries = queries,
               .q = q.view(),
               .out = out.view(),
               .num_heads = c.num_heads,
               .latent_cols = kLatentCols,
               .page_tokens = kPageTokens,
               .softmax_scale = 0.1f},
              &pool);
    benchmark::DoNotOptimize(out.row(0));
  }
  const double keys = static_cast<double>(c.num_keys) * c.num_tokens;
  report_work({.bytes = keys * kRowCols * dtype_bytes(c.dtype),
               .flops = 2 * keys * c.num_heads * (kRowCols + kLatentCols)},
              limits, &state);
}

void add(const Case& c) {
  const std::string name =
      "paged_mla/" + std::string(dtype_name(c.dtype)) + "/keys:" + std::to_string(c.num_keys) +
      "/heads:" + std::to_string(c.num_heads) + "/T:" + std::to_string(c.num_tokens) +
      "/threads:" + std::to_string(c.num_threads);
  add_kernel_case(name, c.num_threads, [c](benchmark::State& state) { run_case(state, c); });
}

void register_all() {
  std::vector<int32_t> thread_counts = {1};
  if (num_usable_cores() > 1) thread_counts.push_back(num_usable_cores());
  for (const int32_t threads : thread_counts) {
    for (const DType dtype : {DType::kBF16, DType::kF32}) {
      for (const int32_t heads : {1, 4, 16, 128}) {
        add({dtype, 4096, heads, heads == 128 ? 1 : 16, threads});
      }
    }
  }
}

}  // namespace
}  // namespace conclave

int main(int argc, char** argv) {
  conclave::register_all();
  return conclave::run_kernel_bench("paged_mla", argc, argv);
}
