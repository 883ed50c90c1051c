// The plainest pool there is, to compare with: one mutex, two condition variables, no spinning.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "common/executor.h"

namespace conclave {

class ConditionPool final : public Executor {
 public:
  explicit ConditionPool(int32_t num_threads);
  ~ConditionPool() override;

  int32_t num_threads() const override { return static_cast<int32_t>(threads_.size()) + 1; }
  void parallel_for(int64_t num_tasks, absl::FunctionRef<void(int64_t)> task) override;

 private:
  void run_tasks(absl::FunctionRef<void(int64_t)> task, int64_t num_tasks);
  void work();

  std::mutex mutex_;
  std::condition_variable called_;
  std::condition_variable left_;
  const absl::FunctionRef<void(int64_t)>* task_ = nullptr;
  int64_t num_tasks_ = 0;
  std::atomic<int64_t> next_{0};
  uint64_t num_calls_ = 0;
  int32_t num_inside_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace conclave
