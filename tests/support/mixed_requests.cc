#include "tests/support/mixed_requests.h"

#include <random>

namespace conclave {
namespace {

// How request i is drawn: greedy, seeded, and seeded with each of the other means.
SamplingParams sampling_of(int i) {
  SamplingParams params{.temperature = i % 3 == 0 ? 0.f : 0.6f + 0.1f * static_cast<float>(i % 7),
                        .seed = 1000u + static_cast<uint64_t>(i),
                        .max_tokens = kMostMixedTokens - i % 5,
                        .num_logprobs = i % 4 == 3 ? -1 : i % 4 * 2,
                        .prompt_logprobs = i % 4 == 1};
  if (i % 5 == 1) params.top_k = 40;
  if (i % 5 == 2) params.top_p = 0.9f;
  if (i % 5 == 3) params.min_p = 0.05f;
  if (i % 6 == 1) params.repetition_penalty = 1.2f;
  if (i % 6 == 2) params.presence_penalty = 0.5f;
  if (i % 6 == 3) params.frequency_penalty = 0.3f;
  if (i % 8 == 5) params.logit_bias = {{100 + i, 5.f}, {7, -100.f}};
  if (i % 4 == 0) params.stop_ids = {1, 16, 31};
  if (i % 8 == 4) params.min_tokens = 6;
  return params;
}

}  // namespace

std::vector<Request> mixed_requests(int32_t vocab_size) {
  std::mt19937 rng(11);
  std::vector<Request> requests;
  for (int i = 0; i < kNumMixedRequests; ++i) {
    const int32_t length = i == 0   ? 1
                           : i == 1 ? kLongestMixedPrompt
                                    : 1 + static_cast<int32_t>(rng() % 120);
    Request request{.sampling = sampling_of(i), .priority = i % 3};
    for (int32_t k = 0; k < length; ++k) {
      request.prompt.push_back(static_cast<int32_t>(rng() % static_cast<uint32_t>(vocab_size)));
    }
    requests.push_back(std::move(request));
  }
  return requests;
}

}  // namespace conclave
