// What this machine does at most, measured in the same run as what is compared with it: a
// kernel's number means little without the limit that it runs against, and neighbours on the
// machine move both.
#pragma once

#include <cstdint>
#include <optional>

#include "bench/report/report.h"
#include "common/executor.h"

namespace conclave {

struct ComputeLimits {
  Spread read;                 // bytes/s, from memory, far beyond the caches
  Spread flops;                // f32 multiply-adds in registers, two flops each
  std::optional<Spread> int8;  // int8 multiply-adds of VNNI, two operations each
};

// With all threads of `executor`, on the instruction class in use. Takes some seconds.
ComputeLimits measure_compute(Executor* executor, int32_t num_runs = 5);

// There and back between two processes of this machine, in seconds; each run is the median of many
// round trips.
Spread measure_tcp_round_trip(int64_t num_bytes, int32_t num_runs = 5);
Spread measure_futex_round_trip(int32_t num_runs = 5);  // both sleep at once
Spread measure_spin_round_trip(int32_t num_runs = 5);   // both spin for 20 us, then sleep

// All of it, as lines of the case "limit": compute with `executor`, round trips of a small message
// and of one row of D = 7168 in bf16.
void report_compute(const Report& report, const ComputeLimits& limits);
void report_round_trips(const Report& report);

}  // namespace conclave
