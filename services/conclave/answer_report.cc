#include "services/conclave/answer_report.h"

#include <cstdio>

#include "absl/strings/str_format.h"

namespace conclave {

void print_logprobs(const char* kind, size_t index, const Logprobs& logprobs) {
  std::string line = absl::StrFormat("logprob %s %d %d:%.9g", kind, index, logprobs.chosen.id,
                                     logprobs.chosen.logprob);
  for (const TokenLogprob& best : logprobs.best) {
    absl::StrAppendFormat(&line, " %d:%.9g", best.id, best.logprob);
  }
  std::fprintf(stderr, "%s\n", line.c_str());
}

std::string AnswerTimes::statistics(int64_t num_prompt, const std::string& reason,
                                    uint64_t seed) const {
  std::string line =
      absl::StrFormat("%d prompt ids, %d generated (%s)", num_prompt, num_tokens_, reason);
  if (num_tokens_ > 0) {
    absl::StrAppendFormat(&line, ", time to first token %.1f ms",
                          absl::ToDoubleMilliseconds(first_token_ - start_));
  }
  const double seconds = absl::ToDoubleSeconds(last_token_ - first_token_);
  if (num_tokens_ > 1 && seconds > 0) {
    absl::StrAppendFormat(&line, ", then %.1f tokens/s",
                          static_cast<double>(num_tokens_ - 1) / seconds);
  }
  absl::StrAppendFormat(&line, ", seed %d", seed);
  return line;
}

}  // namespace conclave
