// The load of bench_serve and what came of it, without a clock or a network.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "bench/cluster/token_stream.h"

namespace conclave {

struct Arrival {
  std::chrono::nanoseconds after{0};  // the begin
  RequestShape shape;
};

// Requests that know nothing of each other, with lengths as people have them: many short, few long.
struct PoissonLoad {
  double rate = 1;     // requests/s
  double seconds = 1;  // for which they come
  int32_t num_ids = 0;
  uint64_t seed = 1;
};
std::vector<Arrival> poisson_arrivals(const PoissonLoad& load);

struct Percentiles {
  double p50 = 0;
  double p99 = 0;
};

struct Served {
  int64_t num_requests = 0;
  int64_t num_failed = 0;
  int64_t num_tokens = 0;
  double asked_rate = 0;     // tokens/s, over the time of the arrivals; 0: all came at once
  double answered_rate = 0;  // over the time until the last
  Percentiles first_token;
  Percentiles between_tokens;  // gaps between ids that came with the same message are none
  double most_open = 0;
};

// REQUIRES: times[i] is of arrivals[i]
Served served_of(const std::vector<Arrival>& arrivals, const std::vector<TokenTimes>& times,
                 BenchClock::time_point begin);

}  // namespace conclave
