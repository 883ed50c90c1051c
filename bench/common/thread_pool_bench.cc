// What it costs to hand a call to a pool's threads and to have them back, beside std::barrier and a
// pool on condition variables, and what pools of two processes on the same cores get done.
//
//   empty calls      one empty task per thread, calls in a row: the barrier alone
//   after a pause    the same after the threads have gone to sleep
//   shared           two processes, each with a pool of all cores, at once: calls of two tasks of
//                    some 20 us with a pause between them; calls/s of both together
//
// usage: bench_thread_pool [ROUNDS]

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <barrier>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench/common/condition_pool.h"
#include "bench/limits/limits.h"
#include "common/check.h"
#include "common/thread_pool.h"

namespace conclave {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Without the clock, which neighbours move: so many turns, whatever they take.
void work_for(int64_t turns) {
  for (int64_t i = 0; i < turns; ++i) asm volatile("" : : "r"(i));
}

int64_t turns_of(double seconds) {
  constexpr int64_t kTurns = 4'000'000;
  const Clock::time_point begin = Clock::now();
  work_for(kTurns);
  return static_cast<int64_t>(static_cast<double>(kTurns) * seconds / seconds_since(begin));
}

double seconds_per_empty_call(Executor* pool) {
  constexpr int kCalls = 20'000;
  const Clock::time_point begin = Clock::now();
  for (int i = 0; i < kCalls; ++i) pool->parallel_for(pool->num_threads(), [](int64_t) {});
  return seconds_since(begin) / kCalls;
}

// Every thread takes part, as in a call that has to wait for all: a barrier at its begin and end.
double seconds_per_full_call(Executor* pool) {
  constexpr int kCalls = 5'000;
  std::atomic<int32_t> num_arrived{0};
  const Clock::time_point begin = Clock::now();
  for (int i = 0; i < kCalls; ++i) {
    num_arrived.store(0, std::memory_order_relaxed);
    pool->parallel_for(pool->num_threads(), [&](int64_t) {
      num_arrived.fetch_add(1, std::memory_order_acq_rel);
      while (num_arrived.load(std::memory_order_acquire) < pool->num_threads()) relax_core();
    });
  }
  return seconds_since(begin) / kCalls;
}

double seconds_per_call_after_pause(Executor* pool) {
  std::vector<double> runs;
  for (int i = 0; i < 100; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const Clock::time_point begin = Clock::now();
    pool->parallel_for(pool->num_threads(), [](int64_t) {});
    runs.push_back(seconds_since(begin));
  }
  return spread_of(std::move(runs)).median;
}

// Two arrivals of every thread: what a call's begin and end would be.
double seconds_per_barrier_pair(int32_t num_threads) {
  constexpr int kPairs = 5'000;
  std::barrier<> barrier(num_threads);
  const auto arrive = [&] {
    for (int i = 0; i < 2 * kPairs; ++i) barrier.arrive_and_wait();
  };
  std::vector<std::thread> others;
  const Clock::time_point begin = Clock::now();
  for (int32_t i = 1; i < num_threads; ++i) others.emplace_back(arrive);
  arrive();
  const double seconds = seconds_since(begin) / kPairs;
  for (std::thread& other : others) other.join();
  return seconds;
}

// --- two processes on the same cores

enum class Kind { kOurs, kCondition };

std::unique_ptr<Executor> pool_of(Kind kind, int32_t num_threads) {
  if (kind == Kind::kOurs) return std::make_unique<ThreadPool>(num_threads);
  return std::make_unique<ConditionPool>(num_threads);
}

struct Load {
  int64_t task_turns = 0;
  int64_t serial_turns = 0;            // of the caller between calls, the others wait
  std::chrono::microseconds pause{0};  // the caller sleeps, as while rows are away
  std::chrono::milliseconds duration{1'000};
};

int64_t calls_done(Executor* pool, const Load& load) {
  const Clock::time_point end = Clock::now() + load.duration;
  int64_t num_calls = 0;
  for (; Clock::now() < end; ++num_calls) {
    pool->parallel_for(pool->num_threads(), [&](int64_t) { work_for(load.task_turns); });
    work_for(load.serial_turns);
    if (load.pause.count() > 0) std::this_thread::sleep_for(load.pause);
  }
  return num_calls;
}

// Calls a second of `num_processes` together.
double shared_rate(Kind kind, int32_t num_processes, const Load& load) {
  const size_t bytes = static_cast<size_t>(num_processes) * sizeof(int64_t);
  void* const memory =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  auto* const counts = static_cast<int64_t*>(memory);
  for (int32_t i = 0; i < num_processes; ++i) {
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child != 0) continue;
    counts[i] = calls_done(pool_of(kind, num_usable_cores()).get(), load);
    _exit(0);
  }
  int64_t sum = 0;
  for (int32_t i = 0; i < num_processes; ++i) CHECK(wait(nullptr) > 0);
  for (int32_t i = 0; i < num_processes; ++i) sum += counts[i];
  munmap(memory, bytes);
  return static_cast<double>(sum) / std::chrono::duration<double>(load.duration).count();
}

// --- what is printed

struct Series {
  std::vector<double> ours;
  std::vector<double> condition;
};

void compare(const Report& report, const std::string& name, const std::string& unit,
             const Series& series) {
  report.add({name, "our pool", unit, spread_of(series.ours)});
  report.add({name, "condition variables", unit, spread_of(series.condition)});
  report.add({name, "ours / condition variables", "ratio",
              spread_of_ratios(series.ours, series.condition)});
}

void measure_shared(const Report& report, int32_t rounds) {
  const int64_t task = turns_of(20e-6);
  const std::vector<std::pair<std::string, Load>> loads = {
      {"calls in a row", {.task_turns = task}},
      {"5 us between calls", {.task_turns = task, .serial_turns = task / 4}},
      {"200 us asleep between calls",
       {.task_turns = task, .pause = std::chrono::microseconds(200)}},
  };
  for (const int32_t processes : {1, 2}) {
    for (const auto& [name, load] : loads) {
      Series series;
      for (int32_t round = 0; round < rounds; ++round) {
        series.ours.push_back(shared_rate(Kind::kOurs, processes, load));
        series.condition.push_back(shared_rate(Kind::kCondition, processes, load));
      }
      const std::string who = processes == 1 ? "one process" : "two processes on the same cores";
      compare(report, who + ", " + name, "calls/s", series);
    }
  }
}

using Cost = double (*)(Executor*);

void measure_costs(const Report& report, int32_t num_threads, int32_t rounds) {
  const std::vector<std::pair<std::string, Cost>> costs = {
      {"empty call", seconds_per_empty_call},
      {"call that all threads join", seconds_per_full_call},
      {"empty call after 1 ms of sleep", seconds_per_call_after_pause},
  };
  ThreadPool ours(num_threads);
  ConditionPool condition(num_threads);
  for (const auto& [name, cost] : costs) {
    Series series;
    for (int32_t round = 0; round < rounds; ++round) {
      series.ours.push_back(cost(&ours));
      series.condition.push_back(cost(&condition));
    }
    compare(report, name, "s", series);
  }
  std::vector<double> pairs;
  for (int32_t i = 0; i < rounds; ++i) pairs.push_back(seconds_per_barrier_pair(num_threads));
  report.add({"limit", "std::barrier, twice", "s", spread_of(std::move(pairs))});
}

}  // namespace
}  // namespace conclave

int main(int argc, char** argv) {
  using namespace conclave;
  const int32_t rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 7;
  const Report report("thread_pool");
  report_round_trips(report);
  measure_shared(report, rounds);  // forks: before there is a thread
  measure_costs(report, num_usable_cores(), rounds);
  return 0;
}
