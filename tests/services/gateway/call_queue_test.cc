// What a stream's queue must keep: one write at a time, in order; the end once, after all writes;
// messages that can be merged are; nothing is written after a write that failed.

#include "services/server/call_queue.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace conclave {
namespace {

using Queue = CallQueue<std::string>;

bool append(std::string* last, std::string* next) {
  last->append(*next);
  return true;
}

TEST(CallQueueTest, OneWriteAtATimeInOrder) {
  Queue queue;
  const Queue::Action first = queue.push("a");
  ASSERT_NE(first.write, nullptr);
  EXPECT_EQ(*first.write, "a");
  EXPECT_EQ(queue.push("b").write, nullptr);
  EXPECT_EQ(queue.push("c").write, nullptr);
  EXPECT_EQ(*first.write, "a") << "it is gRPC's until it is written";
  EXPECT_EQ(*queue.written(true).write, "b");
  EXPECT_EQ(*queue.written(true).write, "c");
  EXPECT_EQ(queue.written(true).write, nullptr);
  EXPECT_EQ(*queue.push("d").write, "d");
}

TEST(CallQueueTest, TheEndComesOnceAfterAllWrites) {
  Queue queue;
  EXPECT_NE(queue.push("a").write, nullptr);
  queue.push("b");
  EXPECT_FALSE(queue.end(absl::AbortedError("first")).finish.has_value());
  EXPECT_FALSE(queue.end(absl::InternalError("second")).finish.has_value());
  EXPECT_EQ(queue.push("late").write, nullptr);
  EXPECT_EQ(*queue.written(true).write, "b");
  const Queue::Action last = queue.written(true);
  EXPECT_EQ(last.write, nullptr);
  ASSERT_TRUE(last.finish.has_value());
  EXPECT_EQ(*last.finish, absl::AbortedError("first"));
  EXPECT_FALSE(queue.end(absl::OkStatus()).finish.has_value());
}

TEST(CallQueueTest, AnEndWithNothingToWriteComesAtOnce) {
  Queue queue;
  EXPECT_TRUE(queue.end(absl::OkStatus()).finish.has_value());
  EXPECT_EQ(queue.push("late").write, nullptr);
}

TEST(CallQueueTest, WhatWaitsIsMergedAndWhatIsBeingWrittenIsNot) {
  Queue queue(append);
  const Queue::Action first = queue.push("a");
  queue.push("b");
  queue.push("c");
  EXPECT_EQ(*first.write, "a");
  EXPECT_EQ(*queue.written(true).write, "bc");
}

TEST(CallQueueTest, AfterAWriteThatFailedOnlyTheEndComes) {
  Queue queue;
  queue.push("a");
  queue.push("b");
  const Queue::Action broken = queue.written(false);
  EXPECT_EQ(broken.write, nullptr);
  EXPECT_FALSE(broken.finish.has_value()) << "nobody has ended it yet";
  EXPECT_EQ(queue.push("c").write, nullptr);
  EXPECT_TRUE(queue.end(absl::OkStatus()).finish.has_value());
}

// One thread pushes, another does what the queue says, and both end it.
TEST(CallQueueTest, NothingIsLostBetweenThreads) {
  constexpr int kCount = 10'000;
  Queue queue;
  std::atomic<bool> is_written{false};
  std::atomic<int> num_ends{0};
  std::string out;
  const auto act = [&](const Queue::Action& action) {
    if (action.write != nullptr) {
      out += *action.write;
      is_written = true;
    }
    if (action.finish) ++num_ends;
  };
  std::thread writer([&] {
    while (num_ends == 0) {
      if (is_written.exchange(false)) act(queue.written(true));
    }
  });
  for (int i = 0; i < kCount; ++i) act(queue.push("x"));
  act(queue.end(absl::OkStatus()));
  writer.join();
  EXPECT_EQ(out.size(), static_cast<size_t>(kCount));
  EXPECT_EQ(num_ends, 1);
}

}  // namespace
}  // namespace conclave
