// The 32 requests that determinism is tested with: short and long prompts, greedy and seeded, each
// means of sampling, logprobs, stop ids, priorities.
#pragma once

#include <cstdint>
#include <vector>

#include "attention/request.h"

namespace conclave {

inline constexpr int kNumMixedRequests = 32;
inline constexpr int32_t kLongestMixedPrompt = 180;
inline constexpr int32_t kMostMixedTokens = 24;

std::vector<Request> mixed_requests(int32_t vocab_size);

}  // namespace conclave
