#include "gateway/live_request.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/status_macros.h"

namespace conclave {

LiveRequest::LiveRequest(GatewayRequest request, const Tokenizer* tokenizer,
                         const ModelLimits& limits)
    : request_(std::move(request)), limits_(limits) {
  const bool needs_text = request_.wants_text || !request_.stops.empty();
  CHECK(tokenizer != nullptr || !needs_text);
  if (needs_text) text_.emplace(tokenizer, request_.stops);
}

NodeRequest LiveRequest::begin_run() {
  NodeRequest run{.id = request_.id,
                  .prompt = request_.prompt,
                  .sampling = request_.sampling,
                  .priority = request_.priority,
                  .deadline = request_.deadline,
                  .score_only = request_.score_only};
  if (said_prompt_logprobs_) run.sampling.prompt_logprobs = false;
  if (ids_.size() > request_.forced.size()) {
    num_to_skip_ = 0;
    run.generated = ids_;
  } else {
    // All that was said was given: it is computed again a step each, as it was asked for.
    num_to_skip_ = ids_.size();
    run.forced = request_.forced;
  }
  return run;
}

absl::StatusOr<AnswerDelta> LiveRequest::take(RunBatch batch) {
  CHECK(!stopped());
  RETURN_IF_ERROR(check_batch(batch));
  AnswerDelta delta;
  take_prompt_logprobs(&batch, &delta);
  for (size_t i = 0; i < batch.ids.size() && !stopped(); ++i) {
    if (num_to_skip_ > 0) {
      --num_to_skip_;
    } else {
      take_id(i, &batch, &delta);
    }
  }
  return delta;
}

void LiveRequest::take_prompt_logprobs(RunBatch* batch, AnswerDelta* delta) {
  if (batch->prompt_logprobs.empty() || !owes_prompt_logprobs()) return;
  delta->prompt_logprobs = std::move(batch->prompt_logprobs);
  said_prompt_logprobs_ = true;
}

void LiveRequest::take_id(size_t index, RunBatch* batch, AnswerDelta* delta) {
  const int32_t id = batch->ids[index];
  ids_.push_back(id);
  delta->ids.push_back(id);
  if (request_.sampling.wants_logprobs()) {
    delta->logprobs.push_back(std::move(batch->logprobs[index]));
  }
  if (!text_) return;
  const std::string text = text_->push(id);
  if (request_.wants_text) delta->text += text;
}

int64_t LiveRequest::max_ids() const {
  if (request_.score_only) return static_cast<int64_t>(request_.forced.size());
  const int64_t room = limits_.max_positions - static_cast<int64_t>(request_.prompt.size());
  return std::min<int64_t>(request_.sampling.max_tokens, room);
}

bool LiveRequest::owes_prompt_logprobs() const {
  return request_.sampling.prompt_logprobs && !said_prompt_logprobs_ && request_.prompt.size() > 1;
}

absl::Status LiveRequest::check_batch(const RunBatch& batch) const {
  const size_t num_new = batch.ids.size() - std::min(batch.ids.size(), num_to_skip_);
  if (static_cast<int64_t>(ids_.size() + num_new) > max_ids()) {
    return absl::InternalError(
        absl::StrFormat("the attention node sent more than %d ids", max_ids()));
  }
  for (const int32_t id : batch.ids) {
    if (id >= 0 && id < limits_.vocab_size) continue;
    return absl::InternalError(
        absl::StrFormat("the attention node sent id %d, not in [0, %d)", id, limits_.vocab_size));
  }
  if (request_.sampling.wants_logprobs() && batch.logprobs.size() != batch.ids.size()) {
    return absl::InternalError(absl::StrFormat("the attention node sent %d ids with %d logprobs",
                                               batch.ids.size(), batch.logprobs.size()));
  }
  if (!owes_prompt_logprobs() || (batch.ids.empty() && batch.prompt_logprobs.empty())) {
    return absl::OkStatus();
  }
  if (batch.prompt_logprobs.size() == request_.prompt.size() - 1) return absl::OkStatus();
  return absl::InternalError(
      absl::StrFormat("the attention node sent logprobs of %d prompt ids, not %d",
                      batch.prompt_logprobs.size(), request_.prompt.size() - 1));
}

std::optional<RunEnd> LiveRequest::complete() const {
  const size_t num_forced = request_.forced.size();
  if (request_.score_only) {
    const bool has_all = ids_.size() == num_forced && !owes_prompt_logprobs();
    const bool said_any = num_forced > 0 || said_prompt_logprobs_;
    return has_all && said_any ? std::optional(RunEnd::kLength) : std::nullopt;
  }
  if (ids_.size() <= num_forced) return std::nullopt;  // given ids end nothing
  const std::vector<int32_t>& stop_ids = request_.sampling.stop_ids;
  if (std::find(stop_ids.begin(), stop_ids.end(), ids_.back()) != stop_ids.end()) {
    return RunEnd::kStopId;
  }
  if (static_cast<int64_t>(ids_.size()) < max_ids()) return std::nullopt;
  return RunEnd::kLength;
}

absl::Status LiveRequest::check_end() const {
  if (owes_prompt_logprobs()) {
    return absl::InternalError("the attention node ended without the prompt's logprobs");
  }
  if (request_.score_only) {
    if (ids_.size() == request_.forced.size()) return absl::OkStatus();
  } else if (complete().has_value()) {
    return absl::OkStatus();
  }
  return absl::InternalError(
      absl::StrFormat("the attention node ended after %d ids of %d", ids_.size(), max_ids()));
}

AnswerDelta LiveRequest::last_delta() {
  AnswerDelta delta;
  if (!text_) return delta;
  const std::string rest = text_->finish();
  if (request_.wants_text) delta.text = rest;
  return delta;
}

AnswerFinish LiveRequest::finish(RunEnd end) const {
  AnswerFinish finish{.num_generated = num_generated()};
  if (stopped()) {
    finish.reason = AnswerEnd::kStopString;
    finish.stop_string = text_->stop_string();
  } else {
    finish.reason = end == RunEnd::kStopId ? AnswerEnd::kStopId : AnswerEnd::kLength;
  }
  return finish;
}

}  // namespace conclave
