#include <immintrin.h>
#include <time.h>

#include <algorithm>
#include <vector>

#include "bench/limits/limits.h"
#include "kernels/instruction_class.h"

namespace conclave {
namespace {

constexpr int64_t kReadBytes = int64_t{256} << 20;
constexpr int64_t kChains = 12;  // more than latency times ports
constexpr int64_t kSteps = 8'000'000;

// One thread is timed by its own CPU time, as its benchmarks are: the limits hold on a shared
// machine.
double now(const Executor& executor) {
  timespec time = {};
  clock_gettime(executor.num_threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// The compiler has to believe that somebody reads it.
template <typename T>
inline void keep(const T& value) {
  asm volatile("" : : "m"(value) : "memory");
}

__attribute__((target("avx2"))) void read_all(const char* data, int64_t num_bytes) {
  __m256i sum[8] = {};
  for (int64_t i = 0; i + 256 <= num_bytes; i += 256) {
    for (int j = 0; j < 8; ++j) {
      const auto* const from = reinterpret_cast<const __m256i*>(data + i + 32 * j);
      sum[j] = _mm256_add_epi64(sum[j], _mm256_loadu_si256(from));
    }
  }
  for (const __m256i& part : sum) keep(part);
}

__attribute__((target("avx2,fma"))) void multiply_add_avx2() {
  __m256 chain[kChains];  // each starts elsewhere, or they would be one chain to the compiler
  for (int64_t j = 0; j < kChains; ++j) chain[j] = _mm256_set1_ps(static_cast<float>(j));
  const __m256 x = _mm256_set1_ps(0.5f);
  for (int64_t i = 0; i < kSteps; ++i) {
    for (__m256& c : chain) c = _mm256_fmadd_ps(c, x, x);
  }
  for (const __m256& c : chain) keep(c);
}

__attribute__((target("avx512f"))) void multiply_add_avx512() {
  __m512 chain[kChains];
  for (int64_t j = 0; j < kChains; ++j) chain[j] = _mm512_set1_ps(static_cast<float>(j));
  const __m512 x = _mm512_set1_ps(0.5f);
  for (int64_t i = 0; i < kSteps; ++i) {
    for (__m512& c : chain) c = _mm512_fmadd_ps(c, x, x);
  }
  for (const __m512& c : chain) keep(c);
}

__attribute__((target("avx512f,avx512vnni"))) void multiply_add_vnni() {
  __m512i chain[kChains];
  for (int64_t j = 0; j < kChains; ++j) chain[j] = _mm512_set1_epi32(static_cast<int>(j));
  const __m512i x = _mm512_set1_epi8(3);
  for (int64_t i = 0; i < kSteps; ++i) {
    for (__m512i& c : chain) c = _mm512_dpbusd_epi32(c, x, x);
  }
  for (const __m512i& c : chain) keep(c);
}

template <typename Work>
Spread rates(Executor* executor, int32_t num_runs, double amount, Work work) {
  const int64_t threads = executor->num_threads();
  std::vector<double> runs;
  for (int32_t run = 0; run < num_runs; ++run) {
    const double begin = now(*executor);
    executor->parallel_for(threads, work);
    runs.push_back(amount * static_cast<double>(threads) / (now(*executor) - begin));
  }
  return spread_of(std::move(runs));
}

}  // namespace

ComputeLimits measure_compute(Executor* executor, int32_t num_runs) {
  const std::vector<char> data(static_cast<size_t>(kReadBytes), 1);
  const int64_t share = kReadBytes / executor->num_threads();
  const bool wide = instruction_class() == InstructionClass::kAvx512;
  const double steps = static_cast<double>(kChains * kSteps);
  ComputeLimits limits;
  limits.read = rates(executor, num_runs, static_cast<double>(share),
                      [&](int64_t i) { read_all(&data[i * share], share); });
  limits.flops = rates(executor, num_runs, 2. * (wide ? 16 : 8) * steps,
                       [&](int64_t) { wide ? multiply_add_avx512() : multiply_add_avx2(); });
  if (wide && __builtin_cpu_supports("avx512vnni")) {
    limits.int8 = rates(executor, num_runs, 2. * 64 * steps, [](int64_t) { multiply_add_vnni(); });
  }
  return limits;
}

void report_compute(const Report& report, const ComputeLimits& limits) {
  report.add({"limit", "read", "bytes/s", limits.read});
  report.add({"limit", "f32 FMA", "flop/s", limits.flops});
  if (limits.int8) report.add({"limit", "int8 VNNI", "op/s", *limits.int8});
}

}  // namespace conclave
