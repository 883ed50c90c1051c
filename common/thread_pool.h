// A fixed set of threads that run the tasks of one parallel_for() at a time, the caller among them.
//
// Threads sleep on a condition variable between calls, so an idle pool costs nothing. Tasks are
// handed out one by one through a counter: who is free takes the next.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/executor.h"

namespace conclave {

class ThreadPool final : public Executor {
 public:
  // `num_threads` counts the caller: 1 starts no thread at all. The machine must have the threads;
  // start() is for where that is not known.
  explicit ThreadPool(int32_t num_threads);
  ~ThreadPool() override;

  // RESOURCE_EXHAUSTED where the machine refuses a thread.
  static absl::StatusOr<std::unique_ptr<ThreadPool>> start(int32_t num_threads);

  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int32_t num_threads() const override { return static_cast<int32_t>(threads_.size()) + 1; }
  void parallel_for(int64_t num_tasks, absl::FunctionRef<void(int64_t)> task) override;

 private:
  struct Job {
    absl::FunctionRef<void(int64_t)> task;
    int64_t num_tasks;
    std::atomic<int64_t> next{0};
  };

  void work();
  absl::Status add_threads(int32_t count);
  static void run_tasks(Job* job);

  std::mutex mutex_;
  std::condition_variable job_changed_;
  std::condition_variable workers_left_;
  Job* job_ = nullptr;       // the call in progress
  uint64_t num_jobs_ = 0;    // tells a worker whether it has seen the current job
  int32_t num_working_ = 0;  // workers inside the current job
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

// Cores this process may really use: the affinity mask, cut by the cgroup's CPU quota. At least 1.
int32_t num_usable_cores();

}  // namespace conclave
