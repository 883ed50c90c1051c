// The attention node's engine: continuous batching of many requests through one model.
//
// Each step() decides, does and accounts: the scheduler names the ids to compute,
// the layer walk computes them, and what comes out is sampled, said to the observers and booked. A
// request admitted always finishes: with a token that ends it, at its limit, cancelled, or with an
// error that is its own.
//
// A request whose rows met something that may pass (MoeLayer's UNAVAILABLE: experts that nobody
// holds or answers for) is stalled, not failed: the part of it that this step computed counts for
// nothing and is computed again, with the same bits, after retry_stalled(). The others go on.
//
// One thread, the step thread, calls everything here; a server puts a mailbox in front. An engine
// that goes tells the requests inside that they are cancelled.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "attention/latent_cache.h"
#include "attention/layer_walk.h"
#include "attention/request.h"
#include "attention/scheduler.h"
#include "attention/sequence.h"
#include "model/sampler/sampler.h"

namespace conclave {

class Engine {
 public:
  struct Options {
    Scheduler::Options scheduler;
    int32_t max_requests = 1024;  // waiting and running; more are refused
    int32_t num_ids = 0;          // ids that may be drawn: the tokenizer's size, at most V
  };

  // `config`, `cache` and `walk` outlive the engine.
  // REQUIRES: the walk takes options.scheduler.step_tokens rows
  Engine(const ModelConfig* config, LatentCache* cache, LayerWalk* walk, const Options& options);
  ~Engine();

  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Queues a request. Refused at once, and its observer never called, when it can never run:
  // INVALID_ARGUMENT for ids or sampling values out of range or a prompt longer than the context,
  // RESOURCE_EXHAUSTED for a request longer than the whole cache or a full queue, ALREADY_EXISTS.
  absl::Status submit(Request request);

  // Ends a request with kCancelled; false when there is none of that id. Allowed inside observers.
  bool cancel(RequestId id);

  // Runs one forward pass. False when there is nothing to run: nobody is here, or all are stalled.
  bool step();

  // Lets stalled requests run again: when the placement has changed, or after a while.
  void retry_stalled();

  // Ends a request with kError and `status`, as cancel() does: a deadline that has passed.
  bool fail(RequestId id, absl::Status status);
  void fail_all(const absl::Status& status);

  int32_t num_requests() const { return static_cast<int32_t>(sequences_.size()); }
  int32_t num_running() const { return scheduler_.num_running(); }
  int32_t num_waiting() const { return scheduler_.num_waiting(); }
  int32_t num_stalled() const;
  int64_t num_stalls() const { return num_stalls_; }  // times that a request was stalled
  // The first reason of the last step that stalled somebody, for people.
  const absl::Status& last_stall() const { return last_stall_; }

  // Of the last step().
  int32_t last_step_tokens() const { return step_.num_tokens(); }

  int64_t num_tokens() const { return num_tokens_; }  // generated since the start
  int64_t num_steps() const { return num_steps_; }
  int64_t num_preemptions() const { return scheduler_.num_preemptions(); }
  const LatentCache& cache() const { return *cache_; }
  const LayerWalk& walk() const { return *walk_; }

 private:
  // One token of the step whose logits somebody needs.
  struct LogitRow {
    Sequence* sequence = nullptr;
    int32_t token_idx = 0;  // in the step
    int32_t position = 0;   // in the sequence
  };

  void collect(const std::vector<StepPart>& parts);
  void drop_faulty(const std::vector<StepPart>& parts, std::span<const RowFault> faults);
  void fail_or_stall(Sequence* sequence, const absl::Status& status);
  std::vector<LogitRow> account(const std::vector<StepPart>& parts);
  void say_rows(std::span<const LogitRow> rows);
  void say_row(const LogitRow& row, std::span<const float> logits);
  void keep_prompt_logprobs(int32_t position, std::span<const float> logits, Sequence* sequence);
  void next_token(Sequence* sequence, std::span<const float> logits);
  absl::StatusOr<int32_t> draw(const Sequence& sequence, std::span<const float> logits);
  void end_if_complete(Sequence* sequence);
  bool end_early(RequestId id, FinishReason reason, absl::Status status);
  void end(Sequence* sequence, FinishReason reason, absl::Status status = absl::OkStatus());
  void let_go_finished();

  const Options options_;
  const ModelConfig& config_;
  LatentCache* const cache_;  // outlives this
  LayerWalk* const walk_;     // outlives this
  Scheduler scheduler_;
  Sampler sampler_;
  std::map<RequestId, std::unique_ptr<Sequence>> sequences_;
  Step step_;
  uint64_t num_arrivals_ = 0;
  int64_t num_steps_ = 0;
  int64_t num_tokens_ = 0;
  int64_t num_stalls_ = 0;
  absl::Status last_stall_;
  bool stepping_ = false;  // sequences are let go between steps only
};

}  // namespace conclave
