// What this machine does at most: bytes read, multiply-adds, round trips between two processes.

#include "bench/limits/limits.h"
#include "common/thread_pool.h"

int main() {
  using namespace conclave;
  const Report report("limits");
  report_round_trips(report);  // these fork, so no thread is there yet
  ThreadPool pool(num_usable_cores());
  report_compute(report, measure_compute(&pool));
  return 0;
}
