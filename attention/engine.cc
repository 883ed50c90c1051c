#include "attention/engine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "attention/request_check.h"
#include "common/check.h"
#include "common/status_macros.h"

namespace conclave {
Engine::Engine(const ModelConfig* config, LatentCache* cache, LayerWalk* walk,
               const Options& options)
    : options_(options),
      config_(*config),
      cache_(cache),
      walk_(walk),
      scheduler_(options.scheduler, cache),
      sampler_(config->vocab_size) {
  CHECK(options.num_ids >= 1 && options.num_ids <= config->vocab_size);
  CHECK(walk->max_tokens() >= options.scheduler.step_tokens);
}

// Nobody is left waiting for the last word.
Engine::~Engine() {
  CHECK(!stepping_);
  for (auto& [id, sequence] : sequences_) end(sequence.get(), FinishReason::kCancelled);
  let_go_finished();
}

void Engine::fail_all(const absl::Status& status) {
  CHECK(!status.ok());
  CHECK(!stepping_);
  for (auto& [id, sequence] : sequences_) end(sequence.get(), FinishReason::kError, status);
  let_go_finished();
}

absl::Status Engine::submit(Request request) {
  CHECK(request.observer != nullptr);
  CHECK(!stepping_);
  RETURN_IF_ERROR(check_request(
      request, {.vocab_size = config_.vocab_size,
                .max_positions = config_.max_positions,
                .cache_tokens = int64_t{cache_->num_pages()} * cache_->page_tokens()}));
  if (num_requests() >= options_.max_requests) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%d requests are waiting or running, the limit", options_.max_requests));
  }
  if (sequences_.contains(request.id)) {
    return absl::AlreadyExistsError(
        absl::StrFormat("request %d is here already", static_cast<uint64_t>(request.id)));
  }
  auto sequence = std::make_unique<Sequence>();
  sequence->arrival = num_arrivals_++;
  sequence->ids = request.prompt;
  for (const int32_t id : request.prompt) ++sequence->counts.prompt[id];
  // One that goes on from elsewhere stands where a preempted one does: its rows are to be computed
  // again, and what was said is not said again.
  sequence->ids.insert(sequence->ids.end(), request.generated.begin(), request.generated.end());
  for (const int32_t id : request.generated) ++sequence->counts.generated[id];
  if (!request.generated.empty()) {
    sequence->prompt_said = true;
    sequence->num_said = sequence->num_ids() - 1;
  }
  sequence->request = std::move(request);
  scheduler_.add(sequence.get());
  sequences_[sequence->request.id] = std::move(sequence);
  return absl::OkStatus();
}

bool Engine::cancel(RequestId id) {
  return end_early(id, FinishReason::kCancelled, absl::OkStatus());
}

bool Engine::fail(RequestId id, absl::Status status) {
  CHECK(!status.ok());
  return end_early(id, FinishReason::kError, std::move(status));
}

bool Engine::end_early(RequestId id, FinishReason reason, absl::Status status) {
  const auto found = sequences_.find(id);
  if (found == sequences_.end() || found->second->finish) return false;
  end(found->second.get(), reason, std::move(status));
  if (!stepping_) let_go_finished();
  return true;
}

void Engine::retry_stalled() {
  CHECK(!stepping_);
  for (auto& [id, sequence] : sequences_) sequence->stalled = false;
}

int32_t Engine::num_stalled() const {
  return static_cast<int32_t>(
      std::count_if(sequences_.begin(), sequences_.end(),
                    [](const auto& entry) { return entry.second->stalled; }));
}

bool Engine::step() {
  CHECK(!stepping_);
  const std::vector<StepPart> parts = scheduler_.next_step();
  if (parts.empty()) return false;
  stepping_ = true;
  ++num_steps_;
  collect(parts);

  std::vector<RowFault> faults;
  const absl::Status status = walk_->run(step_, &faults);
  if (status.ok()) {
    drop_faulty(parts, faults);
    say_rows(account(parts));
  } else {
    for (const StepPart& part : parts) fail_or_stall(part.sequence, status);
  }
  stepping_ = false;
  let_go_finished();
  return true;
}

// The ids of all parts, one after the other, each with its place.
void Engine::collect(const std::vector<StepPart>& parts) {
  step_.ids.clear();
  step_.positions.clear();
  step_.slots.clear();
  step_.queries.clear();
  for (const StepPart& part : parts) {
    for (int32_t position = part.first; position < part.first + part.count; ++position) {
      step_.ids.push_back(part.sequence->ids[position]);
      step_.positions.push_back(position);
      step_.slots.push_back(cache_->slot(part.sequence->table, position));
      step_.queries.push_back({.pages = part.sequence->table.pages, .last = position});
    }
  }
}

// A token that went wrong takes its own part out of the step; the others go on. Faults come in the
// order of layers, and a sequence's first decides: the later ones may be its consequences.
void Engine::drop_faulty(const std::vector<StepPart>& parts, std::span<const RowFault> faults) {
  for (const RowFault& fault : faults) {
    int32_t first = 0;
    for (const StepPart& part : parts) {
      const bool inside = fault.token_idx >= first && fault.token_idx < first + part.count;
      if (inside) fail_or_stall(part.sequence, fault.status);
      first += part.count;
    }
  }
}

void Engine::fail_or_stall(Sequence* sequence, const absl::Status& status) {
  if (sequence->stalled || sequence->finish) return;
  if (!absl::IsUnavailable(status)) return end(sequence, FinishReason::kError, status);
  sequence->stalled = true;
  ++num_stalls_;
  last_stall_ = status;
}

// Books what was computed and lists the tokens whose logits are needed.
std::vector<Engine::LogitRow> Engine::account(const std::vector<StepPart>& parts) {
  std::vector<LogitRow> rows;
  int32_t token_idx = 0;
  for (const StepPart& part : parts) {
    Sequence& sequence = *part.sequence;
    if (sequence.stalled) {
      token_idx += part.count;
      continue;
    }
    const bool prompt_logprobs = sequence.request.sampling.prompt_logprobs;
    for (int32_t position = part.first; position < part.first + part.count; ++position) {
      const bool logits = sequence.request.wants_logits && position >= sequence.num_said;
      const bool logprobs =
          prompt_logprobs && !sequence.prompt_said && position + 1 < sequence.num_prompt();
      const bool next = position + 1 == sequence.num_ids();
      if (logits || logprobs || next) rows.push_back({part.sequence, token_idx, position});
      ++token_idx;
    }
    sequence.num_computed = part.first + part.count;
  }
  return rows;
}

void Engine::end_if_complete(Sequence* sequence) {
  const SamplingParams& sampling = sequence->request.sampling;
  const bool stops = std::find(sampling.stop_ids.begin(), sampling.stop_ids.end(),
                               sequence->ids.back()) != sampling.stop_ids.end();
  if (stops) return end(sequence, FinishReason::kStopId);
  if (sequence->num_generated() >= sampling.max_tokens ||
      sequence->num_ids() >= config_.max_positions) {
    end(sequence, FinishReason::kLength);
  }
}

void Engine::end(Sequence* sequence, FinishReason reason, absl::Status status) {
  if (sequence->finish) return;  // the first reason stands
  sequence->finish = Finish{.reason = reason, .status = std::move(status)};
}

// Pages go home before the observer hears, so that whoever waits for them can have them at once.
void Engine::let_go_finished() {
  while (true) {
    const auto found = std::find_if(sequences_.begin(), sequences_.end(), [](const auto& entry) {
      return entry.second->finish.has_value();
    });
    if (found == sequences_.end()) return;
    const std::unique_ptr<Sequence> sequence = std::move(found->second);
    sequences_.erase(found);
    scheduler_.remove(sequence.get());
    sequence->request.observer->on_finished(*sequence->finish);
  }
}

}  // namespace conclave
