// The requests of a chaos run: short and long, greedy and seeded, with every means of sampling,
// with logprobs, with texts and stop strings where the model has a tokenizer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/cluster/test_cluster.h"

namespace conclave {

struct KnownRequest {
  v1::GenerateRequest message;
  bool is_long = false;  // long enough that faults meet it in mid-generation
  Generated expected;    // what is said when nothing fails
};

struct MixOptions {
  std::string model;          // folder
  int32_t most_tokens = 400;  // of the long ones
};

// All of them, with what the cluster at `address` says now. An error names a request that failed.
absl::StatusOr<std::vector<KnownRequest>> known_requests(const MixOptions& options,
                                                         const std::string& address);

// Seconds that an id of a long prompt takes there now, whatever else runs: what computing a request
// again costs at the least.
absl::StatusOr<double> measure_prompt_pace(const std::vector<KnownRequest>& requests,
                                           const std::string& address);

enum class Verdict {
  kSame,
  kAborted,   // it ended with a status
  kCutShort,  // the beginning of what was expected, and then an OK
  kDoubled,   // all that was expected, and more
  kChanged,
};
inline constexpr int kNumVerdicts = 5;
const char* verdict_name(Verdict verdict);

struct Judged {
  Verdict verdict = Verdict::kSame;
  std::string what;  // the first difference
};

// Bit for bit: ids, logprobs, text, how it ended.
Judged judge(const Generated& said, const Generated& expected);

// The same of a stream that its client left: what came must be a beginning.
Judged judge_beginning(const Generated& said, const Generated& expected);

}  // namespace conclave
