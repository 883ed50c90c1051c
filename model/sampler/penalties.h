// What a request's parameters do to a row of logits before anything is drawn. Every operation is
// one f32 operation, rounded on its own, and touches one id, so the order of ids does not matter.
//
// Ids at or above logits.size() are padding and are skipped.
#pragma once

#include <span>

#include "model/sampler/sampler.h"

namespace conclave {

bool has_penalty(const SamplingParams& params);

// Once for every distinct id of the prompt or the generated ids:
//     x > 0 ? x / repetition : x * repetition
// then for every distinct generated id: x -= frequency * count, x -= presence.
void apply_penalties(const SamplingParams& params, const TokenCounts& counts,
                     std::span<float> logits);

void apply_bias(const SamplingParams& params, std::span<float> logits);

void forbid_stop_ids(const SamplingParams& params, std::span<float> logits);

}  // namespace conclave
