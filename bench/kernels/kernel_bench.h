// What the kernels' benchmarks share: google-benchmark measures, and its runs become the lines of
// bench/report/report.h, each kernel as a share of what the same process measured the machine to
// do.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "bench/limits/limits.h"
#include "benchmark/benchmark.h"
#include "common/thread_pool.h"

namespace conclave {

// Of the pool's number of threads, measured once and reported as lines of the case "limit".
const ComputeLimits& limits_of(ThreadPool* pool);

// Adds bytes and flops an iteration to the report, as rates and as shares of the limits.
struct WorkDone {
  double bytes = 0;
  double flops = 0;
};
void report_work(const WorkDone& done, const ComputeLimits& limits, benchmark::State* state);

// Registers a case; several threads are timed by the clock, one by its own CPU time.
void add_kernel_case(const std::string& name, int32_t num_threads,
                     std::function<void(benchmark::State&)> run);

// main() of a benchmark whose cases are registered: flags are google-benchmark's, such as
// --benchmark_filter and --benchmark_repetitions (5).
int run_kernel_bench(const std::string& name, int argc, char** argv);

}  // namespace conclave
