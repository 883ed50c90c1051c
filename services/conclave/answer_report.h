// What the commands say about an answer on stderr, the same for an engine in this process and a
// cluster.
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "model/sampler/sampler.h"

namespace conclave {

// "logprob generated 3 17:-0.25 17:-0.25 4:-1.5"; enough digits to tell every float from its
// neighbours.
void print_logprobs(const char* kind, size_t index, const Logprobs& logprobs);

// How fast ids came.
class AnswerTimes {
 public:
  explicit AnswerTimes(absl::Time start) : start_(start) {}

  void on_tokens(absl::Time now, int64_t count) {
    if (num_tokens_ == 0 && count > 0) first_token_ = now;
    if (count > 0) last_token_ = now;
    num_tokens_ += count;
  }

  // "8 prompt ids, 128 generated (length), time to first token 2.2 ms, then 3506.9 tokens/s, seed
  // 7".
  std::string statistics(int64_t num_prompt, const std::string& reason, uint64_t seed) const;

 private:
  absl::Time start_;
  absl::Time first_token_;
  absl::Time last_token_;
  int64_t num_tokens_ = 0;
};

}  // namespace conclave
