// What the rules share: keeping groups, and turning chosen experts into picks with weights.
#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "model/config/model_config.h"

namespace conclave {

// By what experts are compared, and groups of experts [first, last).
struct ExpertKeys {
  absl::FunctionRef<float(int32_t expert)> key;
  absl::FunctionRef<float(int32_t first, int32_t last)> group_key;
};

// Chooses the K experts with the largest key(e) among the groups_per_token groups with the largest
// group_key, ties to the lower index for both. An expert of another group is never chosen, whatever
// its key. Writes K ids, ascending.
//
// `scratch` is [K] and is left without meaning; the caller's `weight` serves.
void choose_experts(const GateConfig& config, const ExpertKeys& keys, int32_t* expert,
                    float* scratch);

// The weights of the picks, from the scores [E] as they are, in f32:
//
//   w[i] = scores[expert[i]]
//   w[i] = w[i] / (sum of w + 1e-20)     config.normalize only; summed in ascending expert id
//   w[i] = w[i] * config.scale
void weigh_experts(const GateConfig& config, const float* scores, const int32_t* expert,
                   float* weight);

}  // namespace conclave
