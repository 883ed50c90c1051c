// Invariants: every leg is answered once, whoever submits and whenever the worker stops; legs that
// are merged say the bits they say alone; over the limit a leg is refused at once; a hung engine
// shows.

#include "services/expert_server/expert_worker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "tests/experts/random_experts.h"

namespace conclave {
namespace {

using testing::HasSubstr;

// Holds whoever computes until it is let go.
class Gate final : public Executor {
 public:
  int32_t num_threads() const override { return 1; }
  void parallel_for(int64_t num_tasks, absl::FunctionRef<void(int64_t)> task) override {
    {
      std::unique_lock lock(mutex_);
      ++num_waiting_;
      changed_.notify_all();
      changed_.wait(lock, [this] { return is_open_; });
    }
    for (int64_t i = 0; i < num_tasks; ++i) task(i);
  }
  void open() {
    const std::lock_guard lock(mutex_);
    is_open_ = true;
    changed_.notify_all();
  }
  void wait_for_engine() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return num_waiting_ > 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_open_ = false;
  int num_waiting_ = 0;
};

ArrivedLeg frame_of(const JobMemory& memory) {
  return {.layer_idx = memory.layer_idx,
          .pick_begin = memory.pick_begin,
          .pick_expert = memory.pick_expert,
          .reply_type = memory.reply_type,
          .hidden = {.dtype = memory.row_type,
                     .num_rows = static_cast<int32_t>(memory.pick_begin.size()) - 1,
                     .num_cols = memory.num_cols,
                     .bytes = memory.rows}};
}

JobMemory job_no(uint32_t seed) {
  return random_job({.num_rows = 1 + static_cast<int32_t>(seed % 5),
                     .seed = seed,
                     .layer_idx = 1 + static_cast<int32_t>(seed % 2)});
}

class ExpertWorkerTest : public testing::Test {
 protected:
  ExpertWorkerTest() : metrics_(*Metrics::create({.listen = "off"})), counts_(metrics_.get()) {}

  void start(Executor* executor, int32_t max_queued_legs = 4096) {
    worker_.emplace(ExpertWorker::Parts{.config = &experts_.config,
                                        .weights = &experts_.weights,
                                        .executor = executor,
                                        .clock = &clock_,
                                        .metrics = &counts_},
                    ExpertWorker::Options{.max_queued_legs = max_queued_legs});
  }

  // What a leg says when nobody else is there.
  SharedBytes alone(const JobMemory& memory) {
    ExpertEngine engine(experts_.config, &experts_.weights, inline_executor());
    const ExpertJob job = memory.job();
    return engine.run(job.layer_idx, {&job, 1}).front();
  }

  const SystemClock clock_;
  RandomExperts experts_;
  const std::unique_ptr<Metrics> metrics_;
  ExpertMetrics counts_;
  std::optional<ExpertWorker> worker_;
};

TEST_F(ExpertWorkerTest, LegsOfManyThreadsSayTheBitsTheySayAlone) {
  constexpr uint32_t kThreads = 4;
  constexpr uint32_t kLegs = 50;
  start(inline_executor());
  std::vector<absl::StatusOr<SharedBytes>> said(kThreads * kLegs);
  std::vector<std::atomic<int>> num_answers(kThreads * kLegs);
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint32_t i = t * kLegs; i < (t + 1) * kLegs; ++i) {
        worker_->submit(frame_of(job_no(i)), [&, i](absl::StatusOr<SharedBytes> rows) {
          said[i] = std::move(rows);
          ++num_answers[i];
        });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  worker_->stop();
  int64_t num_picks = 0;
  for (uint32_t i = 0; i < kThreads * kLegs; ++i) {
    ASSERT_EQ(num_answers[i], 1);
    ASSERT_TRUE(said[i].ok()) << said[i].status();
    EXPECT_EQ(*said[i], alone(job_no(i)));
    num_picks += static_cast<int64_t>(job_no(i).pick_expert.size());
  }
  const ExpertLoad load = worker_->load();
  EXPECT_EQ(load.num_queued_legs, 0);
  ASSERT_EQ(load.picks.size(), 3);
  EXPECT_EQ(load.picks[0], 0);
  EXPECT_EQ(load.picks[1] + load.picks[2], num_picks);
}

TEST_F(ExpertWorkerTest, OverTheLimitALegIsRefusedAtOnce) {
  Gate gate;
  start(&gate, /*max_queued_legs=*/2);
  std::atomic<int> num_ok = 0;
  const auto count = [&](const absl::StatusOr<SharedBytes>& said) { num_ok += said.ok() ? 1 : 0; };
  worker_->submit(frame_of(job_no(0)), count);
  gate.wait_for_engine();
  worker_->submit(frame_of(job_no(2)), count);
  EXPECT_EQ(worker_->load().num_queued_legs, 2);
  absl::Status refused;
  worker_->submit(frame_of(job_no(4)),
                  [&](const absl::StatusOr<SharedBytes>& said) { refused = said.status(); });
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("2 legs"));
  gate.open();
  worker_->stop();
  EXPECT_EQ(num_ok, 2);
}

TEST_F(ExpertWorkerTest, AHungEngineShows) {
  Gate gate;
  start(&gate);
  EXPECT_FALSE(worker_->is_stuck(absl::ZeroDuration()));
  worker_->submit(frame_of(job_no(0)), [](const auto&) {});
  gate.wait_for_engine();
  absl::SleepFor(absl::Milliseconds(2));
  EXPECT_TRUE(worker_->is_stuck(absl::Milliseconds(1)));
  EXPECT_FALSE(worker_->is_stuck(absl::Minutes(1)));
  gate.open();
  worker_->stop();
  EXPECT_FALSE(worker_->is_stuck(absl::ZeroDuration()));
}

TEST_F(ExpertWorkerTest, WhatComesAfterTheEndIsUnavailable) {
  start(inline_executor());
  worker_->stop();
  absl::Status refused;
  worker_->submit(frame_of(job_no(0)),
                  [&](const absl::StatusOr<SharedBytes>& said) { refused = said.status(); });
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable);
}

TEST_F(ExpertWorkerTest, AWrongLegIsAnsweredAmongRightOnes) {
  start(inline_executor());
  std::atomic<int> num_ok = 0;
  absl::Status wrong;
  for (uint32_t i = 0; i < 3; ++i) {
    ArrivedLeg frame = frame_of(job_no(i));
    if (i == 1) frame.pick_expert.front() = kNumExperts;
    worker_->submit(std::move(frame), [&, i](const absl::StatusOr<SharedBytes>& said) {
      num_ok += said.ok() ? 1 : 0;
      if (i == 1) wrong = said.status();
    });
  }
  worker_->stop();
  EXPECT_EQ(num_ok, 2);
  EXPECT_EQ(wrong.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(worker_->load().num_queued_legs, 0);
}

// A leg that is asked before the change has its say, one that comes after finds it made.
TEST_F(ExpertWorkerTest, WhatIsHeldChangesBetweenBatches) {
  Gate gate;
  start(&gate);
  JobMemory memory;
  memory.add_row({3}, Matrix<float>(1, kHiddenDim).view());
  absl::Status first = absl::UnknownError("not answered");
  absl::Status later = first;
  absl::Status last = first;
  worker_->submit(frame_of(memory), [&](const auto& said) { first = said.status(); });
  gate.wait_for_engine();
  ExpertSet changed(3, kNumExperts);
  changed.insert(1, 3);
  worker_->let_go(changed);
  worker_->submit(frame_of(memory), [&](const auto& said) { later = said.status(); });
  gate.open();
  while (worker_->load().num_queued_legs > 0) absl::SleepFor(absl::Milliseconds(1));
  worker_->take_in(*experts_.make_part(changed));
  worker_->submit(frame_of(memory), [&](const auto& said) { last = said.status(); });
  worker_->stop();
  EXPECT_TRUE(first.ok()) << first;
  EXPECT_TRUE(absl::IsNotFound(later)) << later;
  EXPECT_TRUE(last.ok()) << last;
  EXPECT_EQ(worker_->picks_of(changed), (std::vector<int64_t>{2}));
}

}  // namespace
}  // namespace conclave
