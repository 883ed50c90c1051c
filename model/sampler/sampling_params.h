// How the next id is drawn. Plain data, part of a request; validate() is the one place that says
// what is allowed. docs/sampling.md explains every field.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace conclave {

inline constexpr int32_t kMaxLogitBiases = 1024;
inline constexpr int32_t kMaxStopIds = 1024;
inline constexpr int32_t kMaxLogprobs = 20;

struct SamplingParams {
  float temperature = 1.f;  // [0, 100]; 0: greedy
  int32_t top_k = 0;        // >= 0: keep the k best; 0: all
  float top_p = 1.f;        // (0, 1]: keep the fewest best whose probabilities reach p
  float min_p = 0.f;        // [0, 1]: drop what is less likely than min_p times the best

  // [0.01, 10], over prompt and generated ids: divides positive, multiplies negative logits.
  float repetition_penalty = 1.f;
  float presence_penalty = 0.f;   // [-2, 2]: subtracted once from ids generated so far
  float frequency_penalty = 0.f;  // [-2, 2]: subtracted per occurrence among generated ids
  std::vector<std::pair<int32_t, float>> logit_bias;  // (id, added in [-100, 100]), ids unique

  uint64_t seed = 0;

  std::vector<int32_t> stop_ids;  // end ids of the model and the request's own; any ends the text
  int32_t min_tokens = 0;         // stop ids are not drawn before this many; [0, max_tokens]
  int32_t max_tokens = 128;       // >= 1

  int32_t num_logprobs = -1;     // -1: none; 0: of the drawn id; n: and of the n best. At most 20.
  bool prompt_logprobs = false;  // the same for every prompt id but the first; needs num_logprobs

  bool wants_logprobs() const { return num_logprobs >= 0; }
};

// INVALID_ARGUMENT naming the field and the value: NaN, out of range, ids outside [0, vocab_size),
// a repeated bias, too many of something.
absl::Status validate(const SamplingParams& params, int32_t vocab_size);

}  // namespace conclave
