#include "attention/scheduler.h"

#include <algorithm>
#include <tuple>

#include "common/check.h"

namespace conclave {
namespace {

// Who goes before whom: a strict order, for arrivals differ. Whoever goes on from another node has
// a client in the middle of a stream, so it is before those who have heard nothing yet; and before
// those that stream here, which matters to them only where pages are short.
bool goes_before(const Sequence* a, const Sequence* b) {
  const auto rank = [](const Sequence* sequence) {
    return std::tuple(-int64_t{sequence->request.priority}, sequence->request.generated.empty(),
                      sequence->arrival);
  };
  return rank(a) < rank(b);
}

void insert_in_order(Sequence* sequence, std::vector<Sequence*>* line) {
  line->insert(std::upper_bound(line->begin(), line->end(), sequence, goes_before), sequence);
}

}  // namespace

Scheduler::Scheduler(const Options& options, LatentCache* cache)
    : options_(options), cache_(cache) {
  CHECK(options.step_tokens >= 1);
  CHECK(options.prefill_chunk >= 1);
  CHECK(options.max_running >= 1 && options.max_running <= options.step_tokens);
}

void Scheduler::add(Sequence* sequence) {
  CHECK(sequence->table.pages.empty() && sequence->num_computed == 0);
  insert_in_order(sequence, &waiting_);
}

void Scheduler::remove(Sequence* sequence) {
  std::erase(waiting_, sequence);
  std::erase(running_, sequence);
  cache_->release(&sequence->table);
}

void Scheduler::Budget::take(bool decoding, int32_t count) {
  step -= count;
  if (!decoding) prompts -= count;
}

std::vector<StepPart> Scheduler::next_step() {
  std::vector<StepPart> parts;
  Budget budget{.step = options_.step_tokens, .prompts = options_.prefill_chunk};
  plan_running(&parts, &budget);
  admit(&parts, &budget);
  return parts;
}

void Scheduler::plan_running(std::vector<StepPart>* parts, Budget* budget) {
  // Decodes first: they are one token each, and running_ never exceeds the budget. Preemption takes
  // from the back of the line, so a decode that was planned already keeps its pages.
  for (const bool decoding : {true, false}) {
    for (size_t i = 0; i < running_.size(); ++i) {
      Sequence* const sequence = running_[i];
      if (sequence->stalled || sequence->decodes() != decoding) continue;
      const int32_t left = sequence->num_ids() - sequence->num_computed;
      const int32_t count = std::min(left, budget->left_for(decoding));
      if (count == 0) continue;
      if (!make_room(sequence, sequence->num_computed + count)) continue;
      parts->push_back({sequence, sequence->num_computed, count});
      budget->take(decoding, count);
    }
  }
  // Prompts have had their room since they were admitted, so nothing was preempted after it was
  // planned.
  for (const StepPart& part : *parts) {
    CHECK(std::find(running_.begin(), running_.end(), part.sequence) != running_.end());
  }
}

bool Scheduler::make_room(Sequence* sequence, int32_t num_tokens) {
  if (num_tokens <= sequence->table.num_tokens) return true;
  while (!cache_->reserve(&sequence->table, num_tokens).ok()) {
    Sequence* const last = running_.back();
    // Alone and still no room cannot be: the engine admits nobody longer than the cache.
    CHECK(running_.size() > 1);
    preempt(last);
    if (last == sequence) return false;
  }
  return true;
}

void Scheduler::preempt(Sequence* sequence) {
  std::erase(running_, sequence);
  cache_->release(&sequence->table);
  sequence->num_computed = 0;
  sequence->stalled = false;
  insert_in_order(sequence, &waiting_);
  ++num_preemptions_;
}

void Scheduler::admit(std::vector<StepPart>* parts, Budget* budget) {
  while (!waiting_.empty() && budget->left_for(/*decoding=*/false) > 0 &&
         static_cast<int32_t>(running_.size()) < options_.max_running) {
    Sequence* const sequence = waiting_.front();
    // One id more than it has, or it may be preempted as soon as it decodes; alone it fits anyway.
    const int32_t wanted = cache_->pages_for(sequence->num_ids() + 1);
    if (wanted > cache_->num_free_pages() && !running_.empty()) return;
    // Room for all of it now, so that those admitted next see what is really free.
    CHECK(cache_->reserve(&sequence->table, sequence->num_ids()).ok());
    const int32_t count = std::min(sequence->num_ids(), budget->left_for(/*decoding=*/false));
    waiting_.erase(waiting_.begin());
    insert_in_order(sequence, &running_);
    parts->push_back({sequence, 0, count});
    budget->take(/*decoding=*/false, count);
  }
}

}  // namespace conclave
