// The routed experts of a checkpoint, in both layouts that exist. Source: docs/models.md.
//
//     mlp.experts.<e>.{gate,up}_proj.weight  [F, D]      mlp.experts.<e>.down_proj.weight  [D, F]
//     mlp.experts.gate_up_proj [E, 2F, D], gate rows first; mlp.experts.down_proj [E, D, F]
#pragma once

#include "absl/status/status.h"
#include "model/config/model_config.h"
#include "model/weights/tensor_source.h"
#include "model/weights/weights.h"

namespace conclave {

// REQUIRES: config.is_moe_layer(layer_idx) and 0 <= expert < E
absl::Status read_expert_tensors(const ModelConfig& config, int32_t layer_idx, int32_t expert,
                                 TensorSource* source, FfnWeights* ffn);

}  // namespace conclave
