// What is asked of an attention node, and how the answer comes back.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/ids.h"
#include "model/sampler/sampler.h"
#include "model/sampler/sampling_params.h"

namespace conclave {

// One more id of the answer.
struct GeneratedToken {
  int32_t id = 0;
  std::optional<Logprobs> logprobs;  // where the request asked for them
};

enum class FinishReason {
  kStopId,  // a stop id was drawn; it is the last token
  kLength,  // max_tokens or the context is full
  kCancelled,
  kError,  // `status` says why
};

struct Finish {
  FinishReason reason = FinishReason::kLength;
  absl::Status status;
};

// Who hears of one request. Called on the step thread, in order; must not call the engine back,
// except that cancel() of this or another request is allowed. Outlives the request.
class RequestObserver {
 public:
  virtual ~RequestObserver() = default;

  // Once, before the first token, when SamplingParams::prompt_logprobs asks: entry i is of prompt
  // id i + 1 given the ids up to i.
  virtual void on_prompt_logprobs(std::vector<Logprobs> logprobs) { (void)logprobs; }

  // Every row of raw logits [V], in order of positions, when Request::wants_logits asks. A row is
  // said once, also when a preempted request is computed again.
  virtual void on_logits(int32_t position, std::span<const float> logits) {
    (void)position;
    (void)logits;
  }

  virtual void on_token(const GeneratedToken& token) = 0;

  // The last call.
  virtual void on_finished(const Finish& finish) = 0;
};

struct Request {
  RequestId id{};
  std::vector<int32_t> prompt;  // at least one id
  SamplingParams sampling;
  int32_t priority = 0;  // higher goes first; equal ones as the scheduler says

  // Ids that were generated before, elsewhere: the request goes on after them with the same bits,
  // as if it had never been interrupted, and says none of them again. Not together with `forced`.
  std::vector<int32_t> generated;

  // The first generated ids, given instead of drawn, each run in a step of its own: scoring a text
  // the way it would have been generated.
  std::vector<int32_t> forced;

  // Nothing is drawn: the request ends when prompt and forced ids are computed.
  bool score_only = false;

  bool wants_logits = false;
  RequestObserver* observer = nullptr;
};

}  // namespace conclave
