// Decides what the next step computes: which ids of which sequences, within a budget of tokens.
//
//   1. Every running sequence that decodes gets its one token.
//   2. What is left of the budget goes to prompts, at most `prefill_chunk` tokens of all together
//      (a small one keeps the gaps between decodes short), in order of priority, then those that
//      go on from another node (Request::generated), then arrival.
//   3. Waiting sequences are admitted in the same order while the cache has free pages for all ids
//      they have so far and one more; nobody overtakes one that does not fit yet.
//   4. When a running sequence needs a page and none is free, the running sequence of the lowest
//      priority, the youngest among equals, gives up all of its pages and goes back to the waiting
//      ones. It is computed again later from its ids: same bits (contract C1).
//
// Stalled sequences keep their place and pages and are passed over; a preempted one is stalled no
// longer.
//
// Changes page tables and the two lists, touches no tensor. Not thread-safe. A sequence alone
// always fits: the engine admits none whose whole length exceeds the cache.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "attention/latent_cache.h"
#include "attention/sequence.h"

namespace conclave {

// Ids [first, first + count) of a sequence are computed in this step.
struct StepPart {
  Sequence* sequence = nullptr;
  int32_t first = 0;
  int32_t count = 0;

  // The last of them is the sequence's last id: its logits give the next one.
  bool reaches_end() const { return first + count == sequence->num_ids(); }
};

class Scheduler {
 public:
  struct Options {
    int32_t step_tokens = 512;    // budget of a step
    int32_t prefill_chunk = 512;  // the part of it that prompts may take
    int32_t max_running = 64;
  };

  // `cache` outlives the scheduler.
  Scheduler(const Options& options, LatentCache* cache);

  // Queues a sequence, which outlives its stay.
  void add(Sequence* sequence);

  // Takes a sequence out, wherever it is, and gives its pages back.
  void remove(Sequence* sequence);

  // The next step, with room reserved for every id in it. Empty when there is nothing to do.
  std::vector<StepPart> next_step();

  int32_t num_waiting() const { return static_cast<int32_t>(waiting_.size()); }
  int32_t num_running() const { return static_cast<int32_t>(running_.size()); }
  int64_t num_preemptions() const { return num_preemptions_; }

 private:
  // Tokens that the step which is being planned may still take.
  struct Budget {
    int32_t step = 0;
    int32_t prompts = 0;

    int32_t left_for(bool decoding) const { return decoding ? step : std::min(step, prompts); }
    void take(bool decoding, int32_t count);
  };

  bool make_room(Sequence* sequence, int32_t num_tokens);
  void preempt(Sequence* sequence);
  void plan_running(std::vector<StepPart>* parts, Budget* budget);
  void admit(std::vector<StepPart>* parts, Budget* budget);

  const Options options_;
  LatentCache* const cache_;
  std::vector<Sequence*> waiting_;  // first in line first
  std::vector<Sequence*> running_;  // the same order
  int64_t num_preemptions_ = 0;
};

}  // namespace conclave
