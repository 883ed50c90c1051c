// Draws the next id from one row of logits.
//
// The order of operations, as documented in docs/sampling.md:
//   1. ids at or above `num_ids` (padding of the vocabulary) are impossible;
//   2. repetition, then frequency and presence penalties, then the logit bias;
//   3. stop ids are impossible while fewer than min_tokens were generated;
//   4. temperature 0: the largest logit, ties to the lower id. Otherwise the weights
//      exp((logit - largest) / temperature), then top-k, then top-p over what top-k kept, then
//      min-p, ties to the lower id, and one draw that walks the survivors in ascending id.
//
// Logprobs are of the raw logits, before all of this: ln softmax, over the ids below `num_ids`.
//
// The draw uses a counter-based generator keyed by (seed, position), position being the drawn id's
// place in the sequence, so a resumed or repeated request draws the same numbers (contract C1). A
// pure function of its arguments; scratch memory is the Sampler's, so one Sampler serves one
// thread.
//
// Cost: greedy is two passes over the row; a draw adds one exp for each id that top-k leaves. Only
// what top-k or top-p keep is ever sorted.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "model/sampler/sampling_params.h"

namespace conclave {

// What a sequence has said so far, as the penalties see it.
struct TokenCounts {
  absl::flat_hash_map<int32_t, int32_t> prompt;  // id -> occurrences
  absl::flat_hash_map<int32_t, int32_t> generated;
};

struct TokenLogprob {
  int32_t id = 0;
  float logprob = 0.f;
};

struct Logprobs {
  TokenLogprob chosen;
  std::vector<TokenLogprob> best;  // descending, ties to the lower id
};

struct SampleArgs {
  std::span<const float> logits;           // [V]
  int32_t num_ids = 0;                     // <= V
  const SamplingParams* params = nullptr;  // validated
  const TokenCounts* counts = nullptr;     // may be null where no penalty is set
  int64_t position = 0;                    // of the id to draw, from 0 at the sequence's first
  int32_t num_generated = 0;
};

class Sampler {
 public:
  explicit Sampler(int32_t vocab_size);

  // INTERNAL when a logit below num_ids is NaN or +infinity, or nothing is possible. -infinity is
  // legal: such an id is never drawn.
  absl::StatusOr<int32_t> sample(const SampleArgs& args);

  // ln softmax of `logits` at `id`, and of the `num_best` best. Meaningless (NaN) for a row that
  // sample() refuses; -infinity for an `id` at or above num_ids.
  Logprobs logprobs(std::span<const float> logits, int32_t num_ids, int32_t id, int32_t num_best);

 private:
  struct Candidate {
    float logit;
    int32_t id;
    double weight;  // exp((logit - largest) / temperature)
  };

  static bool better(const Candidate& a, const Candidate& b);
  static bool worse(const Candidate& a, const Candidate& b) { return better(b, a); }

  std::span<const float> adjust(const SampleArgs& args, std::span<const float> raw);
  void collect(std::span<const float> logits, int32_t top_k);
  void collect_few(std::span<const float> logits, int32_t count);
  void weigh(float largest, float temperature);
  void apply_top_p(float top_p);
  void apply_min_p(float min_p);
  double sum_weights() const;
  void sort_by_id();
  int32_t draw(double uniform) const;

  std::vector<float> logits_;          // [V] after penalties
  std::vector<Candidate> candidates_;  // what may still be drawn, in ascending id between the steps
};

}  // namespace conclave
