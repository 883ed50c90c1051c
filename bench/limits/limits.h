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

// There and back between processes of this machine, in seconds; each run is the median of many
// round trips.
struct TripShape {
  int64_t num_bytes = 0;  // each way
  int32_t num_peers = 1;  // all are sent to before the first is heard
};
inline constexpr int32_t kDefaultRuns = 5;
Spread measure_tcp_round_trip(const TripShape& shape, int32_t num_runs = kDefaultRuns);
// Copied in and out of the memory at both ends, as what comes in has to be; sleeping on a futex.
Spread measure_shm_round_trip(const TripShape& shape, int32_t num_runs = kDefaultRuns);

// All of it, as lines of the case "limit": compute with `executor`, round trips of a small message
// and of one row of D = 7168 in bf16.
void report_compute(const Report& report, const ComputeLimits& limits);
void report_round_trips(const Report& report);

}  // namespace conclave
