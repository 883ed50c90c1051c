// What the gateway's loop must keep: events run one at a time, in order, on its thread, and all of
// them; on_idle() is called after each batch and when it said; after stop() events run where they
// are posted.

#include "services/gateway/event_loop.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace conclave {
namespace {

TEST(EventLoopTest, RunsEventsInOrderOnOneThread) {
  const SystemClock clock;
  EventLoop loop(&clock);
  std::vector<int> seen;
  std::thread::id where;
  for (int i = 0; i < 1000; ++i) loop.post([&seen, i] { seen.push_back(i); });
  loop.run([&] { where = std::this_thread::get_id(); });
  ASSERT_EQ(seen.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(seen[i], i);
  EXPECT_NE(where, std::this_thread::get_id());
}

TEST(EventLoopTest, NeedsNoLocks) {
  const SystemClock clock;
  EventLoop loop(&clock);
  int count = 0;  // the loop's
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) loop.post([&count] { ++count; });
      for (int i = 0; i < 100; ++i) loop.run([&count] { ++count; });
    });
  }
  for (std::thread& thread : threads) thread.join();
  loop.run([&] { EXPECT_EQ(count, 4400); });
}

TEST(EventLoopTest, EventsMayPostEvents) {
  const SystemClock clock;
  EventLoop loop(&clock);
  std::vector<int> seen;
  loop.post([&] {
    loop.post([&] { seen.push_back(2); });
    seen.push_back(1);
  });
  loop.run([] {});
  loop.run([] {});
  EXPECT_EQ(seen, (std::vector<int>{1, 2}));
}

TEST(EventLoopTest, StopRunsWhatWasPosted) {
  const SystemClock clock;
  std::atomic<int> count{0};
  EventLoop loop(&clock);
  loop.post([&] {
    ++count;
    loop.post([&] { ++count; });  // and what that posts
  });
  loop.stop();
  EXPECT_EQ(count, 2);
  loop.stop();
}

TEST(EventLoopTest, AfterStopEventsRunWhereTheyArePosted) {
  const SystemClock clock;
  EventLoop loop(&clock);
  loop.stop();
  std::thread::id where;
  loop.post([&] { where = std::this_thread::get_id(); });
  EXPECT_EQ(where, std::this_thread::get_id());
  bool ran = false;
  loop.run([&] { ran = true; });
  EXPECT_TRUE(ran);
}

TEST(EventLoopTest, ComesBackWhenOnIdleSaid) {
  const SystemClock clock;
  std::atomic<int> num_idle{0};
  const absl::Time start = clock.now();
  EventLoop loop(&clock, [&] {
    ++num_idle;
    return clock.now() + absl::Milliseconds(20);
  });
  while (num_idle < 4) std::this_thread::yield();
  EXPECT_GE(clock.now() - start, absl::Milliseconds(60));
}

TEST(EventLoopTest, OnIdleComesAfterEveryBatch) {
  const SystemClock clock;
  std::atomic<int> num_idle{0};
  EventLoop loop(&clock, [&] {
    ++num_idle;
    return absl::InfiniteFuture();
  });
  loop.run([] {});
  const int before = num_idle;
  loop.run([] {});  // its batch's on_idle() may still come
  loop.run([] {});
  EXPECT_GT(num_idle, before);
}

TEST(EventLoopTest, ATimeThatIsOverIsNow) {
  const SystemClock clock;
  std::atomic<int> num_idle{0};
  EventLoop loop(&clock,
                 [&] { return ++num_idle < 3 ? absl::InfinitePast() : absl::InfiniteFuture(); });
  while (num_idle < 3) std::this_thread::yield();
}

}  // namespace
}  // namespace conclave
