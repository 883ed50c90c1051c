#include "bench/common/condition_pool.h"

namespace conclave {

ConditionPool::ConditionPool(int32_t num_threads) {
  for (int32_t i = 1; i < num_threads; ++i) threads_.emplace_back([this] { work(); });
}

ConditionPool::~ConditionPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  called_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ConditionPool::parallel_for(int64_t num_tasks, absl::FunctionRef<void(int64_t)> task) {
  {
    const std::lock_guard lock(mutex_);
    task_ = &task;
    num_tasks_ = num_tasks;
    next_ = 0;
    ++num_calls_;
  }
  called_.notify_all();
  run_tasks(task, num_tasks);
  std::unique_lock lock(mutex_);
  task_ = nullptr;
  left_.wait(lock, [this] { return num_inside_ == 0; });
}

void ConditionPool::run_tasks(absl::FunctionRef<void(int64_t)> task, int64_t num_tasks) {
  while (true) {
    const int64_t i = next_.fetch_add(1, std::memory_order_relaxed);
    if (i >= num_tasks) return;
    task(i);
  }
}

void ConditionPool::work() {
  uint64_t last_call = 0;
  std::unique_lock lock(mutex_);
  while (true) {
    called_.wait(lock, [&] { return stopping_ || (task_ != nullptr && num_calls_ != last_call); });
    if (stopping_) return;
    last_call = num_calls_;
    ++num_inside_;
    const absl::FunctionRef<void(int64_t)> task = *task_;
    const int64_t num_tasks = num_tasks_;
    lock.unlock();
    run_tasks(task, num_tasks);
    lock.lock();
    if (--num_inside_ == 0) left_.notify_one();
  }
}

}  // namespace conclave
