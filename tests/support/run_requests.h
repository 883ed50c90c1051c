// Runs requests through an engine to their end and keeps everything that was said.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "attention/engine.h"
#include "attention/request.h"

namespace conclave {

struct Answer {
  std::vector<int32_t> ids;
  std::vector<Logprobs> logprobs;  // as many as ids where the request asked
  std::vector<Logprobs> prompt_logprobs;
  std::vector<float> logits;  // rows [., V], where the request asked
  std::optional<Finish> finish;
};

// Bit for bit: ids, logprobs, finish. Says the first difference, or nothing.
std::optional<std::string> first_difference(const Answer& a, const Answer& b);

// All at once, or one after the other. Every request must be accepted and must finish.
enum class Company { kTogether, kAlone };
std::vector<Answer> run_requests(Engine* engine, const std::vector<Request>& requests,
                                 Company company);

}  // namespace conclave
