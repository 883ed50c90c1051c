// What an executor must keep, with any number of threads:
//   - every task runs once, and all have returned when parallel_for() does;
//   - what tasks wrote is seen by the caller, and what the caller wrote by the tasks;
//   - a call leaves nothing behind that a later call, or the pool's end, could trip over.
// The tests hold plain memory on purpose, so that ThreadSanitizer has something to see.

#include "common/thread_pool.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <set>
#include <thread>
#include <vector>

namespace conclave {
namespace {

class ThreadPoolTest : public testing::TestWithParam<int32_t> {
 protected:
  ThreadPool pool_{GetParam()};
};

TEST_P(ThreadPoolTest, CountsTheCaller) { EXPECT_EQ(pool_.num_threads(), GetParam()); }

TEST_P(ThreadPoolTest, RunsEveryTaskOnce) {
  for (const int64_t num_tasks : {0, 1, 2, 3, 33, 256, 10'000}) {
    std::vector<int> num_runs(num_tasks, 0);
    pool_.parallel_for(num_tasks, [&](int64_t i) { ++num_runs[i]; });
    for (int64_t i = 0; i < num_tasks; ++i) ASSERT_EQ(num_runs[i], 1) << i << " of " << num_tasks;
  }
}

TEST_P(ThreadPoolTest, NoTasksCallNothing) {
  pool_.parallel_for(0, [](int64_t) { FAIL() << "there is no task"; });
  pool_.parallel_for(-1, [](int64_t) { FAIL() << "there is no task"; });
}

// Short calls in a row: a worker that wakes late finds the next call, or none, never the last one.
// Each call's task and data live in a frame that is gone when the next begins.
TEST_P(ThreadPoolTest, ManyShortCalls) {
  for (int64_t call = 0; call < 5'000; ++call) {
    const int64_t num_tasks = 2 + call % 5;
    std::vector<int64_t> said(num_tasks, -1);
    pool_.parallel_for(num_tasks, [&said, call](int64_t i) { said[i] = call + i; });
    for (int64_t i = 0; i < num_tasks; ++i) ASSERT_EQ(said[i], call + i);
  }
}

// A step's shape: each call reads what the call before has written, in other threads.
TEST_P(ThreadPoolTest, CallsSeeWhatEarlierCallsWrote) {
  constexpr int64_t kWidth = 16;
  std::vector<int64_t> now(kWidth, 1);
  std::vector<int64_t> next(kWidth);
  for (int round = 0; round < 20; ++round) {
    pool_.parallel_for(kWidth, [&](int64_t i) { next[i] = now[i] + now[(i + 1) % kWidth]; });
    now.swap(next);
  }
  for (const int64_t value : now) EXPECT_EQ(value, 1 << 20);
}

TEST_P(ThreadPoolTest, UnevenTasksAllReturnBeforeTheCallDoes) {
  std::vector<int> done(8, 0);
  for (int round = 0; round < 5; ++round) {
    pool_.parallel_for(8, [&](int64_t i) {
      if (i == round) std::this_thread::sleep_for(std::chrono::milliseconds(3));
      done[i] = round + 1;
    });
    for (const int value : done) ASSERT_EQ(value, round + 1);
  }
}

// Its threads have gone to sleep between calls, or are about to.
TEST_P(ThreadPoolTest, CallsAfterAPause) {
  for (const int pause_us : {0, 10, 20, 40, 200, 2'000, 20'000}) {
    for (int round = 0; round < 5; ++round) {
      std::this_thread::sleep_for(std::chrono::microseconds(pause_us));
      std::vector<int> num_runs(9, 0);
      pool_.parallel_for(9, [&](int64_t i) { ++num_runs[i]; });
      for (const int runs : num_runs) ASSERT_EQ(runs, 1) << pause_us;
    }
  }
}

// All of them are needed at once, also those that slept.
TEST_P(ThreadPoolTest, AsManyTasksAsThreadsRunAtTheSameTime) {
  for (int round = 0; round < 20; ++round) {
    std::barrier<> together(GetParam());
    pool_.parallel_for(GetParam(), [&](int64_t) { together.arrive_and_wait(); });
    if (round % 5 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST_P(ThreadPoolTest, TasksMayUseTheInlineExecutor) {
  std::vector<int64_t> sums(33, 0);
  pool_.parallel_for(33, [&](int64_t i) {
    inline_executor()->parallel_for(i + 1, [&](int64_t j) { sums[i] += j; });
  });
  for (int64_t i = 0; i < 33; ++i) EXPECT_EQ(sums[i], i * (i + 1) / 2);
}

TEST_P(ThreadPoolTest, ManyThreadsMayCallInTurn) {
  int64_t sum = 0;
  for (int caller = 0; caller < 20; ++caller) {
    std::thread([&] {
      std::vector<int64_t> parts(4, 0);
      pool_.parallel_for(4, [&](int64_t i) { parts[i] = i; });
      for (const int64_t part : parts) sum += part;
    }).join();
  }
  EXPECT_EQ(sum, 20 * 6);
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Values(1, 2, 3, 4));

TEST(ThreadPoolLifeTest, EndsUnused) {
  for (int i = 0; i < 100; ++i) ThreadPool pool(4);
}

TEST(ThreadPoolLifeTest, EndsRightAfterACall) {
  for (int i = 0; i < 200; ++i) {
    ThreadPool pool(3);
    std::atomic<int> num_runs = 0;
    pool.parallel_for(2, [&](int64_t) { ++num_runs; });
    ASSERT_EQ(num_runs, 2);
  }
}

TEST(ThreadPoolLifeTest, EndsWhileItsThreadsSleep) {
  for (const bool was_used : {false, true}) {
    ThreadPool pool(4);
    if (was_used) pool.parallel_for(8, [](int64_t) {});
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

// Stacks that no address space holds stand in for a machine that has no more threads.
TEST(ThreadPoolLifeTest, SaysThatAThreadCannotBeStarted) {
  pthread_attr_t usual;
  ASSERT_EQ(pthread_getattr_default_np(&usual), 0);
  pthread_attr_t huge;
  ASSERT_EQ(pthread_attr_init(&huge), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&huge, size_t{1} << 47), 0);
  ASSERT_EQ(pthread_setattr_default_np(&huge), 0);
  const auto pool = ThreadPool::start({.num_threads = 3});
  ASSERT_EQ(pthread_setattr_default_np(&usual), 0);
  pthread_attr_destroy(&huge);
  pthread_attr_destroy(&usual);
  EXPECT_EQ(pool.status().code(), absl::StatusCode::kResourceExhausted) << pool.status();
  EXPECT_TRUE(ThreadPool::start({.num_threads = 3}).ok());
}

// In a thread of its own, which the first call pins.
TEST(ThreadPoolPinTest, EachThreadHasACoreOfItsOwn) {
  const std::vector<int32_t> cores = cores_of_mask();
  const auto num_threads = static_cast<int32_t>(cores.size());
  std::thread([&] {
    const auto pool = ThreadPool::start({.num_threads = num_threads, .pin = true});
    ASSERT_TRUE(pool.ok()) << pool.status();
    std::barrier<> together(num_threads);
    std::vector<std::vector<int32_t>> seen(cores.size());
    (*pool)->parallel_for(num_threads, [&](int64_t i) {
      seen[i] = cores_of_mask();
      together.arrive_and_wait();
    });
    EXPECT_EQ(cores_of_mask(), std::vector<int32_t>{cores[0]});
    std::set<std::vector<int32_t>> different(seen.begin(), seen.end());
    EXPECT_EQ(different.size(), cores.size());
    for (const std::vector<int32_t>& one : seen) EXPECT_EQ(one.size(), 1u);
  }).join();
  EXPECT_EQ(cores_of_mask(), cores);
}

TEST(ThreadPoolPinTest, RefusesMoreThreadsThanCores) {
  const auto num_cores = static_cast<int32_t>(cores_of_mask().size());
  const auto pool = ThreadPool::start({.num_threads = num_cores + 1, .pin = true});
  EXPECT_EQ(pool.status().code(), absl::StatusCode::kInvalidArgument) << pool.status();
}

TEST(ThreadPoolLifeTest, OneThreadStartsNone) {
  ThreadPool pool(1);
  std::set<std::thread::id> seen;
  pool.parallel_for(10, [&](int64_t) { seen.insert(std::this_thread::get_id()); });
  EXPECT_EQ(seen, std::set<std::thread::id>{std::this_thread::get_id()});
}

TEST(ThreadPoolDeathTest, NeedsAThread) { EXPECT_DEATH(ThreadPool(0), "CHECK failed"); }

TEST(ThreadPoolDeathTest, ATaskMustNotCallItsOwnPool) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        ThreadPool pool(2);
        pool.parallel_for(2, [&](int64_t) { pool.parallel_for(2, [](int64_t) {}); });
      },
      "CHECK failed");
}

TEST(InlineExecutorTest, RunsEveryTaskOnceInOrder) {
  std::vector<int64_t> order;
  inline_executor()->parallel_for(5, [&](int64_t i) { order.push_back(i); });
  EXPECT_EQ(order, (std::vector<int64_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(inline_executor()->num_threads(), 1);
}

}  // namespace
}  // namespace conclave
