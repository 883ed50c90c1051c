#include "model/sampler/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "kernels/softmax.h"
#include "model/sampler/penalties.h"
#include "model/sampler/philox.h"

namespace conclave {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int32_t kFewCandidates = 1024;  // up to here a bounded heap beats nth_element

absl::Status check_row(std::string_view what, std::span<const float> logits) {
  for (size_t id = 0; id < logits.size(); ++id) {
    if (logits[id] < kInfinity) continue;  // false for NaN
    return absl::InternalError(absl::StrFormat("the %s of id %d is %g", what, id, logits[id]));
  }
  return absl::OkStatus();
}

// The largest logit's id, the lowest of equals; -1 when every logit is -infinity.
int32_t arg_max(std::span<const float> logits) {
  int32_t best = -1;
  float largest = -kInfinity;
  for (size_t id = 0; id < logits.size(); ++id) {
    if (!(logits[id] > largest)) continue;
    largest = logits[id];
    best = static_cast<int32_t>(id);
  }
  return best;
}

}  // namespace

Sampler::Sampler(int32_t vocab_size) {
  CHECK(vocab_size > 0);
  logits_.resize(static_cast<size_t>(vocab_size));
  candidates_.reserve(static_cast<size_t>(vocab_size));
}

absl::StatusOr<int32_t> Sampler::sample(const SampleArgs& args) {
  CHECK(args.params != nullptr);
  CHECK(args.num_ids > 0);
  CHECK(static_cast<size_t>(args.num_ids) <= args.logits.size());
  CHECK(args.logits.size() <= logits_.size());
  const SamplingParams& params = *args.params;

  const std::span<const float> raw = args.logits.first(static_cast<size_t>(args.num_ids));
  RETURN_IF_ERROR(check_row("logit", raw));
  const std::span<const float> logits = adjust(args, raw);
  if (logits.data() != raw.data()) {  // a small repetition penalty can overflow a large logit
    RETURN_IF_ERROR(check_row("adjusted logit", logits));
  }
  const int32_t best = arg_max(logits);
  if (best < 0) {
    return absl::InternalError(absl::StrCat("none of ", args.num_ids, " ids is possible"));
  }
  if (params.temperature == 0.f) return best;

  collect(logits, params.top_k);
  weigh(logits[static_cast<size_t>(best)], params.temperature);
  if (params.top_p < 1.f) apply_top_p(params.top_p);
  if (params.min_p > 0.f) apply_min_p(params.min_p);
  return draw(uniform_at(params.seed, args.position));
}

std::span<const float> Sampler::adjust(const SampleArgs& args, std::span<const float> raw) {
  const bool has_penalties = has_penalty(*args.params);
  const bool forbids_stop = args.num_generated < args.params->min_tokens;
  if (!has_penalties && args.params->logit_bias.empty() && !forbids_stop) return raw;

  const std::span<float> logits(logits_.data(), raw.size());
  std::copy(raw.begin(), raw.end(), logits.begin());
  if (has_penalties) {
    CHECK(args.counts != nullptr);
    apply_penalties(*args.params, *args.counts, logits);
  }
  apply_bias(*args.params, logits);
  if (forbids_stop) forbid_stop_ids(*args.params, logits);
  return logits;
}

bool Sampler::better(const Candidate& a, const Candidate& b) {
  if (a.logit != b.logit) return a.logit > b.logit;
  return a.id < b.id;
}

void Sampler::sort_by_id() {
  std::sort(candidates_.begin(), candidates_.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
}

void Sampler::collect(std::span<const float> logits, int32_t top_k) {
  if (top_k > 0 && top_k <= kFewCandidates) {
    collect_few(logits, top_k);
    std::erase_if(candidates_, [](const Candidate& c) { return c.logit == -kInfinity; });
    sort_by_id();
    return;
  }
  candidates_.clear();
  for (size_t id = 0; id < logits.size(); ++id) {
    if (logits[id] == -kInfinity) continue;
    candidates_.push_back({logits[id], static_cast<int32_t>(id), 0.0});
  }
  if (top_k == 0 || static_cast<size_t>(top_k) >= candidates_.size()) return;
  std::nth_element(candidates_.begin(), candidates_.begin() + top_k, candidates_.end(), better);
  candidates_.resize(static_cast<size_t>(top_k));
  sort_by_id();  // sums go in ascending id, whatever order nth_element left
}

// The worst of the best so far is on top of the heap, so that almost every id costs one comparison.
// Ids come in ascending order: an equal logit never displaces a lower id.
void Sampler::collect_few(std::span<const float> logits, int32_t count) {
  candidates_.clear();
  for (size_t id = 0; id < logits.size(); ++id) {
    if (candidates_.size() == static_cast<size_t>(count)) {
      if (!(logits[id] > candidates_.front().logit)) continue;
      std::pop_heap(candidates_.begin(), candidates_.end(), better);
      candidates_.pop_back();
    }
    candidates_.push_back({logits[id], static_cast<int32_t>(id), 0.0});
    std::push_heap(candidates_.begin(), candidates_.end(), better);
  }
}

// Divides instead of multiplying by the inverse: the same rounding for every reader of the
// document.
void Sampler::weigh(float largest, float temperature) {
  for (Candidate& candidate : candidates_) {
    const double distance = static_cast<double>(candidate.logit) - static_cast<double>(largest);
    candidate.weight = std::exp(distance / static_cast<double>(temperature));
  }
}

double Sampler::sum_weights() const {
  double sum = 0.0;
  for (const Candidate& candidate : candidates_) sum += candidate.weight;
  return sum;
}

// Pops the best off a heap until they reach p. Most of a vocabulary is a tail that no nucleus
// reaches: what weighs less than (1 - p) / n of the total each weighs less than 1 - p together, so
// it need not enter the heap. Half of that bound leaves room for the rounding of the sums, and so
// the result is the same as without the cut.
void Sampler::apply_top_p(float top_p) {
  const double p = static_cast<double>(top_p);
  const double total = sum_weights();
  const double tail = 0.5 * (1.0 - p) * total / static_cast<double>(candidates_.size());
  std::erase_if(candidates_, [tail](const Candidate& c) { return c.weight < tail; });

  std::make_heap(candidates_.begin(), candidates_.end(), worse);
  auto heap_end = candidates_.end();
  double reached = 0.0;
  while (heap_end != candidates_.begin() && reached < p * total) {
    std::pop_heap(candidates_.begin(), heap_end, worse);
    --heap_end;
    reached += heap_end->weight;
  }
  candidates_.erase(candidates_.begin(), heap_end);
  sort_by_id();
}

// The best weighs exactly 1, and neither top-k nor top-p drops it.
void Sampler::apply_min_p(float min_p) {
  std::erase_if(candidates_, [min_p](const Candidate& c) { return c.weight < min_p; });
}

// The first id whose running sum passes uniform * total. The running sum ends at `total` itself and
// uniform < 1, so one does; an id of weight zero never is the first.
int32_t Sampler::draw(double uniform) const {
  const double target = uniform * sum_weights();
  size_t i = 0;
  double sum = candidates_[i].weight;
  while (sum <= target) {
    ++i;
    CHECK(i < candidates_.size());
    sum += candidates_[i].weight;
  }
  return candidates_[i].id;
}

Logprobs Sampler::logprobs(std::span<const float> logits, int32_t num_ids, int32_t id,
                           int32_t num_best) {
  CHECK(num_ids > 0);
  CHECK(static_cast<size_t>(num_ids) <= logits.size());
  CHECK(id >= 0);
  CHECK(static_cast<size_t>(id) < logits.size());
  const std::span<const float> row = logits.first(static_cast<size_t>(num_ids));
  const double log_sum = log_sum_exp(row);
  const auto logprob = [&](float logit) {
    return static_cast<float>(static_cast<double>(logit) - log_sum);
  };

  Logprobs result;
  result.chosen = {id, id < num_ids ? logprob(row[static_cast<size_t>(id)]) : -kInfinity};
  if (num_best <= 0) return result;

  collect_few(row, num_best);
  std::sort_heap(candidates_.begin(), candidates_.end(), better);
  for (const Candidate& c : candidates_) result.best.push_back({c.id, logprob(c.logit)});
  return result;
}

}  // namespace conclave
