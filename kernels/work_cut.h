// How finely to cut a kernel's work: into enough tasks to keep the threads busy to the end, none of
// them so small that handing it over costs more than doing it. A cut moves no number.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/executor.h"

namespace conclave {

struct WorkCut {
  int64_t num_tasks = 0;
  int64_t units_per_task = 0;
};

// `num_units` equal pieces of `work_per_unit` multiply-adds (or numbers read) each.
inline WorkCut cut_work(int64_t num_units, int64_t work_per_unit, const Executor& executor) {
  constexpr int64_t kSmallestTask = 1 << 17;  // some 5 us: several times what a task costs
  constexpr int64_t kTasksPerThread = 4;
  if (num_units == 0) return {};
  const int64_t by_work = num_units * work_per_unit / kSmallestTask;
  const int64_t by_threads =
      executor.num_threads() > 1 ? executor.num_threads() * kTasksPerThread : 1;
  const int64_t wanted = std::clamp<int64_t>(by_work, 1, std::min(by_threads, num_units));
  const int64_t units_per_task = (num_units + wanted - 1) / wanted;
  return {(num_units + units_per_task - 1) / units_per_task, units_per_task};
}

}  // namespace conclave
