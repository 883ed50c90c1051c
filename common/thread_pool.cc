#include "common/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>
#include <system_error>

#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/status_macros.h"

namespace conclave {
namespace {

// cgroup v2 says "max 100000" or "<quota> <period>"; absent outside a cgroup.
int32_t cgroup_cores() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return INT32_MAX;
  const double cores = std::atof(quota.c_str()) / period;
  return std::max(1, static_cast<int32_t>(std::ceil(cores)));
}

}  // namespace

Executor* inline_executor() {
  static InlineExecutor executor;
  return &executor;
}

ThreadPool::ThreadPool(int32_t num_threads) {
  CHECK(num_threads >= 1);
  CHECK(add_threads(num_threads - 1).ok());
}

absl::StatusOr<std::unique_ptr<ThreadPool>> ThreadPool::start(int32_t num_threads) {
  CHECK(num_threads >= 1);
  auto pool = std::make_unique<ThreadPool>(1);
  RETURN_IF_ERROR(pool->add_threads(num_threads - 1));
  return pool;
}

absl::Status ThreadPool::add_threads(int32_t count) {
  try {
    for (int32_t i = 0; i < count; ++i) threads_.emplace_back([this] { work(); });
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("cannot start %d threads beside the first: %s", count, error.what()));
  }
  return absl::OkStatus();
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  job_changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::parallel_for(int64_t num_tasks, absl::FunctionRef<void(int64_t)> task) {
  if (num_tasks <= 1 || threads_.empty()) {
    for (int64_t i = 0; i < num_tasks; ++i) task(i);
    return;
  }
  Job job{.task = task, .num_tasks = num_tasks};
  {
    std::lock_guard<std::mutex> lock(mutex_);
    CHECK(job_ == nullptr);
    CHECK(num_working_ == 0);  // or a task called us while its own call was ending
    job_ = &job;
    ++num_jobs_;
  }
  job_changed_.notify_all();
  run_tasks(&job);

  // The job lives on this stack: leave only when no worker can still look at it.
  std::unique_lock<std::mutex> lock(mutex_);
  job_ = nullptr;
  workers_left_.wait(lock, [this] { return num_working_ == 0; });
}

void ThreadPool::run_tasks(Job* job) {
  while (true) {
    const int64_t i = job->next.fetch_add(1, std::memory_order_relaxed);
    if (i >= job->num_tasks) return;
    job->task(i);
  }
}

void ThreadPool::work() {
  uint64_t last_job = 0;
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    job_changed_.wait(lock,
                      [&] { return stopping_ || (job_ != nullptr && num_jobs_ != last_job); });
    if (stopping_) return;
    Job* const job = job_;
    last_job = num_jobs_;
    ++num_working_;
    lock.unlock();
    run_tasks(job);
    lock.lock();
    if (--num_working_ == 0) workers_left_.notify_one();
  }
}

int32_t num_usable_cores() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  const bool known = sched_getaffinity(0, sizeof(mask), &mask) == 0;
  // It fails where the machine has more cores than the mask has bits: no reason to use one only.
  const int32_t affinity =
      known ? CPU_COUNT(&mask) : static_cast<int32_t>(std::thread::hardware_concurrency());
  return std::max(1, std::min(affinity, cgroup_cores()));
}

}  // namespace conclave
