#include <algorithm>

#include "common/status_macros.h"
#include "model/weights/expert_tensors.h"
#include "model/weights/trunk_tensors.h"
#include "model/weights/unknown_tensors.h"
#include "model/weights/weights.h"

namespace conclave {
namespace {

// Asks `source` for every routed expert there is.
absl::Status measure_experts(const ModelConfig& config, TensorSource* source, ModelSize* size) {
  const uint64_t params_before = source->num_params();
  const uint64_t bytes_before = source->num_bytes();
  uint64_t num_experts = 0;
  FfnWeights ignored;
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    if (!config.is_moe_layer(layer)) continue;
    for (int32_t e = 0; e < config.moe.gate.num_experts; ++e) {
      const uint64_t bytes = source->num_bytes();
      RETURN_IF_ERROR(read_expert_tensors(config, layer, e, source, &ignored));
      size->expert_bytes = std::max(size->expert_bytes, source->num_bytes() - bytes);
      ++num_experts;
    }
  }
  size->all_expert_bytes = source->num_bytes() - bytes_before;
  const uint64_t params = source->num_params() - params_before;
  size->total_params += params;
  if (num_experts > 0) {
    // All routed experts have the same shape, so one of E is read for each of K picks.
    size->active_params += params / static_cast<uint64_t>(config.moe.gate.num_experts) *
                           static_cast<uint64_t>(config.moe.gate.experts_per_token);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelSize> measure_model(const Checkpoint& checkpoint, const ModelConfig& config,
                                        const WeightTypes& types) {
  TensorSource source(&checkpoint, &config, {.types = types});
  ModelSize size;
  TrunkWeights trunk;
  RETURN_IF_ERROR(read_trunk_tensors(config, &source, &trunk));
  size.trunk_bytes = source.num_bytes();
  size.total_params = source.num_params();
  size.active_params = source.num_params();
  if (!config.tie_embeddings) {  // a tied table is read as the head
    size.active_params -=
        static_cast<uint64_t>(config.vocab_size) * static_cast<uint64_t>(config.hidden_dim);
  }
  RETURN_IF_ERROR(measure_experts(config, &source, &size));
  ASSIGN_OR_RETURN(size.mtp_params, check_unknown_tensors(checkpoint, config, source));
  size.converted = source.converted_types();
  return size;
}

}  // namespace conclave
