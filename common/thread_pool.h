// A fixed set of threads that run the tasks of one parallel_for() at a time, the caller among them.
//
// Handing a call over and joining its threads again costs about a microsecond while the threads
// spin, which they do for some 20 us after a call (spin_wait.h); then they sleep, so that an idle
// pool costs nothing, and the next call wakes them. A thread that comes too late for a call leaves
// it to the others: nobody waits for a thread that has not begun. Tasks are handed out one by one
// through a counter: who is free takes the next.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/executor.h"
#include "common/spin_wait.h"
#include "common/usable_cores.h"

namespace conclave {

class ThreadPool final : public Executor {
 public:
  struct Options {
    int32_t num_threads = 1;  // the caller included: 1 starts no thread at all

    // One thread to each core of the process's affinity mask, the caller on the first. The thread
    // that calls parallel_for() is pinned by its first call and stays pinned.
    bool pin = false;
  };

  // The machine must have the threads; start() is for where that is not known.
  explicit ThreadPool(int32_t num_threads);
  ~ThreadPool() override;

  // RESOURCE_EXHAUSTED where the machine refuses a thread; INVALID_ARGUMENT where there are more
  // threads to pin than cores.
  static absl::StatusOr<std::unique_ptr<ThreadPool>> start(const Options& options);

  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int32_t num_threads() const override { return static_cast<int32_t>(threads_.size()) + 1; }
  void parallel_for(int64_t num_tasks, absl::FunctionRef<void(int64_t)> task) override;

 private:
  ThreadPool(int32_t num_threads, bool spins);

  absl::Status add_threads(int32_t count);
  absl::Status pin_threads();
  void pin_caller();

  void open_call(int64_t num_tasks, const absl::FunctionRef<void(int64_t)>* task);
  void close_call();
  void run_tasks();
  void work();
  bool enter(uint32_t state);
  void leave();

  const bool spins_;  // there is a core for each thread
  SpinWait join_wait_;
  std::vector<std::thread> threads_;
  int32_t caller_core_ = -1;  // -1: the caller is not pinned
  std::thread::id pinned_caller_;

  // The call in progress. Written while no worker is inside, read by those that are.
  const absl::FunctionRef<void(int64_t)>* task_ = nullptr;
  int64_t num_tasks_ = 0;

  // Lines of their own: one is what waiting threads look at, one what busy threads count on.
  alignas(64) std::atomic<uint32_t> state_{0};
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<uint32_t> num_joins_{0};  // of a caller that may sleep
};

}  // namespace conclave
