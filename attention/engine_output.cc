// What comes out of a step: logits become ids and logprobs, and the observers hear of them.

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_format.h"
#include "attention/engine.h"
#include "common/check.h"

namespace conclave {
namespace {

// No NaN and no +infinity. -infinity is a way to say never.
bool is_sound(std::span<const float> logits) {
  return std::all_of(logits.begin(), logits.end(),
                     [](float logit) { return logit < std::numeric_limits<float>::infinity(); });
}

}  // namespace

void Engine::say_rows(std::span<const LogitRow> rows) {
  const size_t max_rows = static_cast<size_t>(walk_->max_logit_rows());
  std::vector<int32_t> tokens;
  for (size_t first = 0; first < rows.size(); first += max_rows) {
    const std::span<const LogitRow> block =
        rows.subspan(first, std::min(max_rows, rows.size() - first));
    tokens.clear();
    for (const LogitRow& row : block) tokens.push_back(row.token_idx);
    const Rows<const float> logits = walk_->logits(tokens);
    for (size_t i = 0; i < block.size(); ++i) {
      say_row(block[i],
              {logits.row(static_cast<int64_t>(i)), static_cast<size_t>(config_.vocab_size)});
    }
  }
}

void Engine::say_row(const LogitRow& row, std::span<const float> logits) {
  Sequence* const sequence = row.sequence;
  if (sequence->finish) return;  // cancelled or failed meanwhile
  if (!is_sound(logits.first(static_cast<size_t>(options_.num_ids)))) {
    return end(sequence, FinishReason::kError,
               absl::InternalError(
                   absl::StrFormat("the logits at position %d are not finite", row.position)));
  }
  const Request& request = sequence->request;
  if (request.wants_logits && row.position >= sequence->num_said) {
    sequence->num_said = row.position + 1;
    request.observer->on_logits(row.position, logits);
  }
  const bool prompt_logprob = request.sampling.prompt_logprobs && !sequence->prompt_said &&
                              row.position + 1 < sequence->num_prompt();
  if (prompt_logprob) keep_prompt_logprobs(row.position, logits, sequence);
  if (!sequence->finish && row.position + 1 == sequence->num_ids()) {
    next_token(sequence, logits);
  }
}

// A preempted prompt is computed again from its start; what is kept already stays.
void Engine::keep_prompt_logprobs(int32_t position, std::span<const float> logits,
                                  Sequence* sequence) {
  if (position < static_cast<int32_t>(sequence->prompt_logprobs.size())) return;
  CHECK(position == static_cast<int32_t>(sequence->prompt_logprobs.size()));
  sequence->prompt_logprobs.push_back(
      sampler_.logprobs(logits, options_.num_ids, sequence->ids[position + 1],
                        std::max(sequence->request.sampling.num_logprobs, 0)));
}

// The id after the last: given, drawn, or none any more.
void Engine::next_token(Sequence* sequence, std::span<const float> logits) {
  const Request& request = sequence->request;
  const SamplingParams& sampling = request.sampling;
  if (sampling.prompt_logprobs && !sequence->prompt_said) {
    sequence->prompt_said = true;
    request.observer->on_prompt_logprobs(std::move(sequence->prompt_logprobs));
    if (sequence->finish) return;
  }
  const bool forced = sequence->num_generated() < static_cast<int32_t>(request.forced.size());
  if (!forced && request.score_only) return end(sequence, FinishReason::kLength);

  GeneratedToken token;
  if (forced) {
    token.id = request.forced[static_cast<size_t>(sequence->num_generated())];
  } else {
    const absl::StatusOr<int32_t> id = draw(*sequence, logits);
    if (!id.ok()) return end(sequence, FinishReason::kError, id.status());
    token.id = *id;
  }
  if (sampling.wants_logprobs()) {
    token.logprobs = sampler_.logprobs(logits, options_.num_ids, token.id, sampling.num_logprobs);
  }
  sequence->ids.push_back(token.id);
  ++num_tokens_;
  ++sequence->counts.generated[token.id];
  request.observer->on_token(token);
  if (!forced) end_if_complete(sequence);
}

absl::StatusOr<int32_t> Engine::draw(const Sequence& sequence, std::span<const float> logits) {
  return sampler_.sample({.logits = logits,
                          .num_ids = options_.num_ids,
                          .params = &sequence.request.sampling,
                          .counts = &sequence.counts,
                          .position = sequence.num_ids(),
                          .num_generated = sequence.num_generated()});
}

}  // namespace conclave
