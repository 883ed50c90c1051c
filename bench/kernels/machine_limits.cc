#include "bench/kernels/machine_limits.h"

#include <immintrin.h>
#include <time.h>

#include <algorithm>
#include <vector>

#include "kernels/instruction_class.h"

namespace conclave {
namespace {

constexpr int64_t kReadBytes = int64_t{512} << 20;
constexpr int64_t kChains = 12;  // more than latency times ports
constexpr int64_t kSteps = 20'000'000;

// One thread is timed by its own CPU time, as its benchmarks are: the limits hold on a shared
// machine.
double now(const Executor& executor) {
  timespec time = {};
  clock_gettime(executor.num_threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

__attribute__((target("avx2"))) void read_all(const char* data, int64_t num_bytes) {
  __m256i sum[8] = {};
  for (int64_t i = 0; i + 256 <= num_bytes; i += 256) {
    for (int j = 0; j < 8; ++j) {
      const auto* const from = reinterpret_cast<const __m256i*>(data + i + 32 * j);
      sum[j] = _mm256_add_epi64(sum[j], _mm256_loadu_si256(from));
    }
  }
  for (const __m256i& part : sum) benchmark::DoNotOptimize(part);
}

__attribute__((target("avx2,fma"))) void multiply_add_avx2() {
  __m256 chain[kChains];  // each starts elsewhere, or they would be one chain to the compiler
  for (int64_t j = 0; j < kChains; ++j) chain[j] = _mm256_set1_ps(static_cast<float>(j));
  const __m256 x = _mm256_set1_ps(0.5f);
  for (int64_t i = 0; i < kSteps; ++i) {
    for (__m256& c : chain) c = _mm256_fmadd_ps(c, x, x);
  }
  for (const __m256& c : chain) benchmark::DoNotOptimize(c);
}

__attribute__((target("avx512f"))) void multiply_add_avx512() {
  __m512 chain[kChains];
  for (int64_t j = 0; j < kChains; ++j) chain[j] = _mm512_set1_ps(static_cast<float>(j));
  const __m512 x = _mm512_set1_ps(0.5f);
  for (int64_t i = 0; i < kSteps; ++i) {
    for (__m512& c : chain) c = _mm512_fmadd_ps(c, x, x);
  }
  for (const __m512& c : chain) benchmark::DoNotOptimize(c);
}

double best_read_rate(Executor* executor) {
  const std::vector<char> data(static_cast<size_t>(kReadBytes), 1);
  const int64_t threads = executor->num_threads();
  const int64_t share = kReadBytes / threads;
  double best = 0;
  for (int repeat = 0; repeat < 4; ++repeat) {
    const double begin = now(*executor);
    executor->parallel_for(threads, [&](int64_t i) { read_all(&data[i * share], share); });
    best = std::max(best, static_cast<double>(share * threads) / (now(*executor) - begin));
  }
  return best;
}

double best_flop_rate(Executor* executor) {
  const bool wide = instruction_class() == InstructionClass::kAvx512;
  const int64_t threads = executor->num_threads();
  double best = 0;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const double begin = now(*executor);
    executor->parallel_for(threads,
                           [&](int64_t) { wide ? multiply_add_avx512() : multiply_add_avx2(); });
    const double took = now(*executor) - begin;
    const double flops = 2. * (wide ? 16 : 8) * kChains * kSteps * static_cast<double>(threads);
    best = std::max(best, flops / took);
  }
  return best;
}

}  // namespace

MachineLimits measure_limits(Executor* executor) {
  return {.read_bytes_per_second = best_read_rate(executor),
          .flops_per_second = best_flop_rate(executor)};
}

void report(const WorkDone& done, const MachineLimits& limits, benchmark::State* state) {
  using benchmark::Counter;
  const auto rate = [](double value) { return Counter(value, Counter::kIsIterationInvariantRate); };
  state->counters["bytes/s"] = rate(done.bytes);
  state->counters["flops"] = rate(done.flops);
  state->counters["of_read_limit"] = rate(done.bytes / limits.read_bytes_per_second);
  state->counters["of_flop_limit"] = rate(done.flops / limits.flops_per_second);
}

}  // namespace conclave
