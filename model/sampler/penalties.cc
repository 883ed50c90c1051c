#include "model/sampler/penalties.h"

#include <limits>

#include "common/check.h"

namespace conclave {
namespace {

// Where the id's logit is; null for padding.
float* find(std::span<float> logits, int32_t id) {
  CHECK(id >= 0);
  const auto index = static_cast<size_t>(id);
  return index < logits.size() ? &logits[index] : nullptr;
}

void repeat(float penalty, float* logit) {
  *logit = *logit > 0.f ? *logit / penalty : *logit * penalty;
}

}  // namespace

bool has_penalty(const SamplingParams& params) {
  return params.repetition_penalty != 1.f || params.frequency_penalty != 0.f ||
         params.presence_penalty != 0.f;
}

void apply_penalties(const SamplingParams& params, const TokenCounts& counts,
                     std::span<float> logits) {
  for (const auto& [id, count] : counts.generated) {
    float* logit = find(logits, id);
    if (logit == nullptr || count <= 0) continue;
    repeat(params.repetition_penalty, logit);
    *logit -= params.frequency_penalty * static_cast<float>(count);
    *logit -= params.presence_penalty;
  }
  if (params.repetition_penalty == 1.f) return;  // the rest is the prompt's, which may be long
  for (const auto& [id, count] : counts.prompt) {
    float* logit = find(logits, id);
    if (logit == nullptr || count <= 0) continue;
    const auto generated = counts.generated.find(id);
    const bool done = generated != counts.generated.end() && generated->second > 0;
    if (!done) repeat(params.repetition_penalty, logit);
  }
}

void apply_bias(const SamplingParams& params, std::span<float> logits) {
  for (const auto& [id, bias] : params.logit_bias) {
    if (float* logit = find(logits, id)) *logit += bias;
  }
}

void forbid_stop_ids(const SamplingParams& params, std::span<float> logits) {
  for (const int32_t id : params.stop_ids) {
    if (float* logit = find(logits, id)) *logit = -std::numeric_limits<float>::infinity();
  }
}

}  // namespace conclave
