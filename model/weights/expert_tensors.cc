#include "model/weights/expert_tensors.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "model/weights/trunk_tensors.h"

namespace conclave {

absl::Status read_expert_tensors(const ModelConfig& config, int32_t layer_idx, int32_t expert,
                                 TensorSource* source, FfnWeights* ffn) {
  CHECK(config.is_moe_layer(layer_idx));
  CHECK(expert >= 0 && expert < config.moe.gate.num_experts);
  const int32_t dim = config.hidden_dim;
  const int32_t expert_dim = config.moe.expert_dim;
  const std::string prefix = absl::StrCat(layer_prefix(layer_idx), "mlp.experts.");
  const std::string fused_name = absl::StrCat(prefix, "gate_up_proj");
  if (!source->has(fused_name)) {
    return read_ffn_tensors({.prefix = absl::StrCat(prefix, expert, "."),
                             .hidden_dim = dim,
                             .ffn_dim = expert_dim,
                             .group = WeightGroup::kExperts},
                            source, ffn);
  }
  MatrixSpec spec = {.name = fused_name,
                     .num_rows = 2 * expert_dim,
                     .num_cols = dim,
                     .group = WeightGroup::kExperts,
                     .num_slices = config.moe.gate.num_experts,
                     .slice_idx = expert};
  Weight gate_up;
  RETURN_IF_ERROR(source->matrix(spec, &gate_up));
  ffn->gate = gate_up.rows(0, expert_dim);
  ffn->up = gate_up.rows(expert_dim, expert_dim);
  spec.name = absl::StrCat(prefix, "down_proj");
  spec.num_rows = dim;
  spec.num_cols = expert_dim;
  return source->matrix(spec, &ffn->down);
}

}  // namespace conclave
