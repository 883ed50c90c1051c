// What the batcher must keep:
//   - a job is answered exactly once: at once when it is refused, from run_once() otherwise;
//   - a run is of one layer, the oldest job's, takes that job and whatever else fits, oldest first;
//   - a run has at most max_picks picks, unless one job alone has more;
//   - the queue has a limit, over which jobs are RESOURCE_EXHAUSTED;
//   - an answer has the bits of the job run alone;
//   - a job whose expert is taken out while it waits is NOT_FOUND, the others are answered.

#include "experts/expert_batcher.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <random>

#include "tests/experts/random_experts.h"

namespace conclave {
namespace {

using Answer = absl::StatusOr<SharedBytes>;

class ExpertBatcherTest : public testing::Test {
 protected:
  struct Submitted {
    JobMemory memory;
    std::vector<Answer> answers;
  };

  void make(const ExpertBatcher::Options& options) {
    options_ = options;
    batcher_ =
        std::make_unique<ExpertBatcher>(&experts_.config, &experts_.weights, &engine_, options);
  }

  // Submits a job and gives its number: 0, 1, 2, ...
  size_t submit(JobMemory memory) {
    const size_t number = jobs_.size();
    jobs_.push_back(std::make_unique<Submitted>(Submitted{std::move(memory), {}}));
    ExpertJob job = jobs_.back()->memory.job();
    job.done = [this, number](Answer answer) {
      jobs_[number]->answers.push_back(std::move(answer));
      answered_.push_back(number);
    };
    batcher_->submit(std::move(job));
    return number;
  }

  int32_t num_picks(size_t number) const {
    return static_cast<int32_t>(jobs_[number]->memory.pick_expert.size());
  }
  int32_t layer_of(size_t number) const { return jobs_[number]->memory.layer_idx; }

  // Which jobs the next run answers, in order.
  std::vector<size_t> run_once() {
    answered_.clear();
    EXPECT_TRUE(batcher_->run_once());
    return answered_;
  }

  const Answer& only_answer(size_t number) const {
    CHECK(jobs_[number]->answers.size() == 1);
    return jobs_[number]->answers.front();
  }

  RandomExperts experts_;
  ExpertEngine engine_{experts_.config, &experts_.weights, inline_executor(), 8};
  ExpertBatcher::Options options_;
  std::unique_ptr<ExpertBatcher> batcher_;
  std::vector<std::unique_ptr<Submitted>> jobs_;
  std::vector<size_t> answered_;  // since the last run began
};

using Numbers = std::vector<size_t>;

TEST_F(ExpertBatcherTest, RunsTheOldestLayerFirstAndMergesIt) {
  make({});
  const int32_t layers[] = {2, 1, 2, 1, 2};
  for (const int32_t layer : layers) submit(random_job({.num_rows = 2, .layer_idx = layer}));
  EXPECT_EQ(batcher_->num_queued(), 5);
  EXPECT_EQ(run_once(), (Numbers{0, 2, 4}));
  submit(random_job({.num_rows = 1, .layer_idx = 2}));
  submit(random_job({.num_rows = 1, .layer_idx = 1}));
  EXPECT_EQ(run_once(), (Numbers{1, 3, 6}));
  EXPECT_EQ(run_once(), (Numbers{5}));
  EXPECT_EQ(batcher_->num_queued(), 0);
  EXPECT_FALSE(batcher_->run_once());
}

JobMemory job_with_picks(int32_t num_picks) {
  JobMemory memory;
  const Matrix<float> row(1, kHiddenDim);
  for (int32_t i = 0; i < num_picks; ++i) memory.add_row({i % kNumExperts}, row.view());
  return memory;
}

TEST_F(ExpertBatcherTest, StopsAtMaxPicks) {
  make({.max_picks = 10});
  for (const int32_t picks : {4, 6, 1}) submit(job_with_picks(picks));
  EXPECT_EQ(run_once(), (Numbers{0, 1}));
  EXPECT_EQ(run_once(), (Numbers{2}));
}

TEST_F(ExpertBatcherTest, ALargerJobRunsAloneAndKeepsItsPlace) {
  make({.max_picks = 10});
  for (const int32_t picks : {4, 11, 6, 1}) submit(job_with_picks(picks));
  EXPECT_EQ(run_once(), (Numbers{0, 2}));
  EXPECT_EQ(run_once(), (Numbers{1}));
  EXPECT_EQ(run_once(), (Numbers{3}));
}

TEST_F(ExpertBatcherTest, RefusesOverTheQueueLimit) {
  make({.max_queued_jobs = 2});
  for (int i = 0; i < 3; ++i) submit(random_job({}));
  EXPECT_EQ(answered_, (Numbers{2}));
  EXPECT_TRUE(absl::IsResourceExhausted(only_answer(2).status()));
  EXPECT_EQ(batcher_->num_queued(), 2);

  run_once();
  submit(random_job({}));  // there is room again
  EXPECT_EQ(run_once(), (Numbers{3}));
  EXPECT_TRUE(only_answer(3).ok());
}

TEST_F(ExpertBatcherTest, AnswersRefusedJobsAtOnce) {
  make({});
  submit(random_job({}));
  submit(random_job({.layer_idx = 0}));
  EXPECT_EQ(answered_, (Numbers{1}));
  EXPECT_TRUE(absl::IsInvalidArgument(only_answer(1).status()));
  EXPECT_EQ(run_once(), (Numbers{0}));
}

// A bad job says what is wrong with it, also when there would be no room.
TEST_F(ExpertBatcherTest, ABadJobIsBadWhenTheQueueIsFull) {
  make({.max_queued_jobs = 0});
  submit(random_job({.layer_idx = 0}));
  EXPECT_TRUE(absl::IsInvalidArgument(only_answer(0).status()));
}

TEST_F(ExpertBatcherTest, AnAnswerMaySubmitTheNextJob) {
  make({});
  const JobMemory memory = random_job({.num_rows = 3});
  int num_done = 0;
  std::function<void(Answer)> again = [&](Answer answer) {
    ASSERT_TRUE(answer.ok());
    ExpertJob next = memory.job();
    next.done = again;
    if (++num_done < 3) batcher_->submit(std::move(next));
  };
  ExpertJob first = memory.job();
  first.done = again;
  batcher_->submit(std::move(first));
  while (batcher_->run_once()) {
  }
  EXPECT_EQ(num_done, 3);
}

TEST_F(ExpertBatcherTest, AJobThatNobodyWaitsForIsOurMistake) {
  make({});
  const JobMemory memory = random_job({});
  EXPECT_DEATH(batcher_->submit(memory.job()), "done");
}

// Random submissions and runs, against the rules.
class ExpertBatcherPropertyTest : public ExpertBatcherTest,
                                  public testing::WithParamInterface<uint32_t> {
 protected:
  void submit_random() {
    const bool bad = rng_() % 10 == 0;
    const bool full = batcher_->num_queued() == options_.max_queued_jobs;
    answered_.clear();
    const int32_t layer_idx = bad ? 0 : rng_() % 4 == 0 ? 2 : 1;
    const size_t number = submit(random_job({.num_rows = 1 + static_cast<int32_t>(rng_() % 12),
                                             .seed = static_cast<uint32_t>(rng_()),
                                             .layer_idx = layer_idx,
                                             .reply_type = DType::kF32}));
    if (bad || full) {
      ASSERT_EQ(answered_, (Numbers{number}));
      const auto code =
          bad ? absl::StatusCode::kInvalidArgument : absl::StatusCode::kResourceExhausted;
      ASSERT_EQ(only_answer(number).status().code(), code);
    } else {
      ASSERT_TRUE(answered_.empty());
      queued_.push_back(number);
    }
  }

  // What a run must have taken, followed job by job in the order of the queue.
  void run_and_check() {
    const Numbers taken = run_once();
    ASSERT_EQ(taken.front(), queued_.front()) << "the oldest waits on";
    const int32_t layer = layer_of(queued_.front());
    int32_t picks = 0;
    size_t next = 0;
    Numbers left;
    for (const size_t number : queued_) {
      const bool fits = picks == 0 || picks + num_picks(number) <= options_.max_picks;
      if (layer_of(number) != layer || !fits) {
        left.push_back(number);
        continue;
      }
      ASSERT_LT(next, taken.size());
      ASSERT_EQ(taken[next++], number);
      picks += num_picks(number);
      expect_bits_of_its_own(number);
    }
    ASSERT_EQ(next, taken.size());
    queued_ = left;
    ASSERT_EQ(batcher_->num_queued(), static_cast<int32_t>(queued_.size()));
  }

  void expect_bits_of_its_own(size_t number) {
    ASSERT_TRUE(only_answer(number).ok());
    const ExpertJob alone = jobs_[number]->memory.job();
    ASSERT_EQ(*only_answer(number), engine_.run(alone.layer_idx, {&alone, 1}).front());
  }

  std::mt19937 rng_{GetParam()};
  Numbers queued_;
};

TEST_P(ExpertBatcherPropertyTest, NothingIsLostOrDoubled) {
  make({.max_queued_jobs = 12, .max_picks = 20});
  for (int i = 0; i < 400 && !HasFatalFailure(); ++i) {
    if (rng_() % 5 < 3 || queued_.empty()) {
      submit_random();
    } else {
      run_and_check();
    }
  }
  while (!queued_.empty() && !HasFatalFailure()) run_and_check();
  EXPECT_FALSE(batcher_->run_once());
  for (const auto& job : jobs_) EXPECT_EQ(job->answers.size(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, ExpertBatcherPropertyTest, testing::Range(1u, 6u));

TEST_F(ExpertBatcherTest, WhatIsTakenOutMeanwhileIsNotFound) {
  make({});
  const Matrix<float> row(1, kHiddenDim);
  JobMemory of_gone;
  of_gone.add_row({2, 5}, row.view());
  JobMemory of_others;
  of_others.add_row({3, 5}, row.view());
  submit(std::move(of_gone));
  submit(std::move(of_others));
  ExpertSet gone(3, kNumExperts);
  gone.insert(1, 2);
  experts_.weights.remove(gone);
  batcher_->refuse_unheld();
  EXPECT_EQ(answered_, (Numbers{0}));
  EXPECT_TRUE(absl::IsNotFound(only_answer(0).status()));
  EXPECT_EQ(run_once(), (Numbers{1}));
  EXPECT_TRUE(only_answer(1).ok());
}

}  // namespace
}  // namespace conclave
