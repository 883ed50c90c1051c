// What this machine can do at most, measured in the same process as the kernels: a kernel's number
// means little without the limit that it runs against.
#pragma once

#include <cstdint>

#include "benchmark/benchmark.h"
#include "common/executor.h"

namespace conclave {

struct MachineLimits {
  double read_bytes_per_second = 0;  // from memory, far beyond the caches
  double flops_per_second = 0;       // f32 multiply-adds in registers, two flops each
};

// With all threads of `executor`, on the instruction class in use. Takes about a second.
MachineLimits measure_limits(Executor* executor);

// Adds bytes and flops an iteration to the report, as rates and as shares of the limits.
struct WorkDone {
  double bytes = 0;
  double flops = 0;
};
void report(const WorkDone& done, const MachineLimits& limits, benchmark::State* state);

}  // namespace conclave
