#include "common/thread_pool.h"

#include <algorithm>
#include <system_error>

#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/status_macros.h"

namespace conclave {
namespace {

// The parts of state_: how many workers are inside the call, whether it takes more of them, whether
// the pool ends, and the call's number. One word, so that a worker enters only what is open, and
// the caller knows whom to wait for once it has closed.
constexpr uint32_t kInside = (1u << 12) - 1;
constexpr uint32_t kOpen = 1u << 12;
constexpr uint32_t kStopping = 1u << 13;
constexpr uint32_t kOneCall = 1u << 14;

// Comes round after 2^18 calls. A worker that slept through exactly so many leaves one to others.
uint32_t call_of(uint32_t state) { return state / kOneCall; }
uint32_t inside(uint32_t state) { return state & kInside; }

}  // namespace

Executor* inline_executor() {
  static InlineExecutor executor;
  return &executor;
}

ThreadPool::ThreadPool(int32_t num_threads, bool spins) : spins_(spins), join_wait_(spins) {
  CHECK(num_threads >= 1);
  CHECK(num_threads <= static_cast<int32_t>(kInside));
}

ThreadPool::ThreadPool(int32_t num_threads)
    : ThreadPool(num_threads, num_threads <= num_usable_cores()) {
  CHECK(add_threads(num_threads - 1).ok());
}

absl::StatusOr<std::unique_ptr<ThreadPool>> ThreadPool::start(const Options& options) {
  const bool spins = options.num_threads <= num_usable_cores();
  std::unique_ptr<ThreadPool> pool(new ThreadPool(options.num_threads, spins));
  RETURN_IF_ERROR(pool->add_threads(options.num_threads - 1));
  if (options.pin) RETURN_IF_ERROR(pool->pin_threads());
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

absl::Status ThreadPool::pin_threads() {
  const std::vector<int32_t> cores = cores_of_mask();
  if (static_cast<int32_t>(cores.size()) < num_threads()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%d threads cannot be pinned to the %d cores that this process may use",
                        num_threads(), cores.size()));
  }
  caller_core_ = cores[0];
  for (size_t i = 0; i < threads_.size(); ++i) {
    RETURN_IF_ERROR(pin_thread(threads_[i].native_handle(), cores[i + 1]));
  }
  return absl::OkStatus();
}

// A mask that has shrunk since the start is no reason to fail a call.
void ThreadPool::pin_caller() {
  if (caller_core_ < 0 || pinned_caller_ == std::this_thread::get_id()) return;
  pinned_caller_ = std::this_thread::get_id();
  static_cast<void>(pin_thread(pthread_self(), caller_core_));
}

ThreadPool::~ThreadPool() {
  state_.fetch_or(kStopping);
  state_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::parallel_for(int64_t num_tasks, absl::FunctionRef<void(int64_t)> task) {
  pin_caller();
  if (num_tasks <= 1 || threads_.empty()) {
    for (int64_t i = 0; i < num_tasks; ++i) task(i);
    return;
  }
  open_call(num_tasks, &task);
  run_tasks();
  close_call();
}

void ThreadPool::open_call(int64_t num_tasks, const absl::FunctionRef<void(int64_t)>* task) {
  uint32_t state = state_.load(std::memory_order_acquire);
  CHECK((state & kOpen) == 0);
  CHECK(inside(state) == 0);  // or a task called us while its own call was ending
  task_ = task;
  num_tasks_ = num_tasks;
  next_.store(0, std::memory_order_relaxed);
  CHECK(state_.compare_exchange_strong(state, (state + kOneCall) | kOpen));
  if (num_tasks > static_cast<int64_t>(threads_.size())) {
    state_.notify_all();
  } else {
    for (int64_t i = 1; i < num_tasks; ++i) state_.notify_one();
  }
}

// The task lives in the caller's frame: leave only when no worker can still look at it.
void ThreadPool::close_call() {
  if (inside(state_.fetch_and(~kOpen, std::memory_order_acq_rel)) == 0) return;
  const auto all_left = [this] { return inside(state_.load(std::memory_order_acquire)) == 0; };
  join_wait_.wait(all_left, [&] {
    const uint32_t joins = num_joins_.load(std::memory_order_acquire);
    if (!all_left()) num_joins_.wait(joins, std::memory_order_acquire);
  });
}

void ThreadPool::run_tasks() {
  const absl::FunctionRef<void(int64_t)> task = *task_;
  const int64_t num_tasks = num_tasks_;
  while (true) {
    const int64_t i = next_.fetch_add(1, std::memory_order_relaxed);
    if (i >= num_tasks) return;
    task(i);
  }
}

void ThreadPool::work() {
  SpinWait call_wait(spins_);
  uint32_t last_call = call_of(0);
  while (true) {
    uint32_t state = 0;
    const auto is_called = [&] {
      state = state_.load(std::memory_order_acquire);
      return (state & kStopping) != 0 || ((state & kOpen) != 0 && call_of(state) != last_call);
    };
    call_wait.wait(is_called, [&] { state_.wait(state, std::memory_order_acquire); });
    if ((state & kStopping) != 0) return;
    if (!enter(state)) continue;
    last_call = call_of(state);
    run_tasks();
    leave();
  }
}

// False when the call that `state` was of has closed meanwhile.
bool ThreadPool::enter(uint32_t state) {
  const uint32_t call = call_of(state);
  while ((state & kOpen) != 0 && call_of(state) == call) {
    if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) return true;
  }
  return false;
}

void ThreadPool::leave() {
  const uint32_t before = state_.fetch_sub(1, std::memory_order_acq_rel);
  if ((before & kOpen) != 0 || inside(before) > 1) return;
  num_joins_.fetch_add(1);
  num_joins_.notify_one();
}

}  // namespace conclave
