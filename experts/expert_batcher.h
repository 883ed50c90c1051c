// Merges legs of several attention nodes into one run per layer.
//
// The batcher never waits for more: when the engine is free it takes everything queued for the
// layer of the oldest job (up to `max_picks`), oldest first, and runs it. Jobs are checked as they
// are submitted, so a bad one is answered at once and never reaches a kernel. The queue has a
// limit; over it a job is refused with RESOURCE_EXHAUSTED (contract C4).
//
// Not thread-safe: one thread submits and runs. (A server puts its mailbox in front of it.)
#pragma once

#include <cstdint>
#include <deque>

#include "experts/expert_engine.h"
#include "experts/expert_job.h"

namespace conclave {

class ExpertBatcher {
 public:
  struct Options {
    int32_t max_queued_jobs = 4096;
    int32_t max_picks_per_job = 1024;  // what callers cut their legs at
    int32_t max_picks = 8192;          // of one run; a single larger job is run alone
  };

  // `config`, `weights` and `engine` outlive the batcher.
  ExpertBatcher(const ModelConfig* config, const HeldExperts* weights, ExpertEngine* engine,
                const Options& options);

  // Takes the job over; job.done is called now if it is refused, from run_once() otherwise.
  void submit(ExpertJob job);

  // Runs one batch. False when nothing is queued.
  bool run_once();

  // Answers queued jobs whose experts were taken out of the weights since with NOT_FOUND.
  void refuse_unheld();

  int32_t num_queued() const { return static_cast<int32_t>(queue_.size()); }

 private:
  std::vector<ExpertJob> take_batch();

  const Options options_;
  const ModelConfig* const config_;
  const HeldExperts* const weights_;
  ExpertEngine* const engine_;
  std::deque<ExpertJob> queue_;  // oldest first
};

}  // namespace conclave
