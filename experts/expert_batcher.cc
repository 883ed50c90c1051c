#include "experts/expert_batcher.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "common/check.h"

namespace conclave {

ExpertBatcher::ExpertBatcher(const ModelConfig* config, const HeldExperts* weights,
                             ExpertEngine* engine, const Options& options)
    : options_(options), config_(config), weights_(weights), engine_(engine) {}

void ExpertBatcher::submit(ExpertJob job) {
  CHECK(job.done != nullptr);
  if (job.pick_expert.size() > static_cast<size_t>(options_.max_picks_per_job)) {
    job.done(absl::ResourceExhaustedError(absl::StrFormat("the leg has %d picks, the limit is %d",
                                                          job.pick_expert.size(),
                                                          options_.max_picks_per_job)));
    return;
  }
  const absl::Status status = check_job(job, *config_, *weights_);
  if (!status.ok()) {
    job.done(status);
    return;
  }
  if (num_queued() >= options_.max_queued_jobs) {
    job.done(absl::ResourceExhaustedError(
        absl::StrFormat("the queue is full with %d legs", options_.max_queued_jobs)));
    return;
  }
  queue_.push_back(std::move(job));
}

bool ExpertBatcher::run_once() {
  if (queue_.empty()) return false;
  const std::vector<ExpertJob> batch = take_batch();
  std::vector<SharedBytes> said = engine_->run(batch.front().layer_idx, batch);
  for (size_t i = 0; i < batch.size(); ++i) batch[i].done(std::move(said[i]));
  return true;
}

void ExpertBatcher::refuse_unheld() {
  std::deque<ExpertJob> queue;
  queue.swap(queue_);
  for (ExpertJob& job : queue) {
    const absl::Status status = check_job(job, *config_, *weights_);
    if (status.ok()) {
      queue_.push_back(std::move(job));
    } else {
      job.done(status);
    }
  }
}

std::vector<ExpertJob> ExpertBatcher::take_batch() {
  const int32_t layer_idx = queue_.front().layer_idx;
  int32_t num_picks = 0;
  std::vector<ExpertJob> batch;
  std::deque<ExpertJob> left;
  for (ExpertJob& job : queue_) {
    const bool fits = batch.empty() || num_picks + job.num_picks() <= options_.max_picks;
    if (job.layer_idx == layer_idx && fits) {
      num_picks += job.num_picks();
      batch.push_back(std::move(job));
    } else {
      left.push_back(std::move(job));
    }
  }
  queue_ = std::move(left);
  return batch;
}

}  // namespace conclave
