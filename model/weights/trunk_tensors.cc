#include "model/weights/trunk_tensors.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/weights/mla_tensors.h"

namespace conclave {
namespace {

absl::Status read_gate(const ModelConfig& config, int32_t layer_idx, TensorSource* source,
                       GateWeights* gate) {
  const std::string prefix = absl::StrCat(layer_prefix(layer_idx), "mlp.gate.");
  const int32_t num_experts = config.moe.gate.num_experts;
  RETURN_IF_ERROR(source->matrix({.name = absl::StrCat(prefix, "weight"),
                                  .num_rows = num_experts,
                                  .num_cols = config.hidden_dim,
                                  .may_be_fp8 = false},
                                 &gate->weight));
  if (config.moe.gate.method != GateMethod::kSigmoidNoAuxTc) return absl::OkStatus();
  return source->vector(absl::StrCat(prefix, "e_score_correction_bias"), num_experts, &gate->bias);
}

absl::Status read_layer(const ModelConfig& config, int32_t layer_idx, TensorSource* source,
                        LayerWeights* layer) {
  const std::string prefix = layer_prefix(layer_idx);
  const int32_t dim = config.hidden_dim;
  RETURN_IF_ERROR(
      source->vector(absl::StrCat(prefix, "input_layernorm.weight"), dim, &layer->input_norm));
  RETURN_IF_ERROR(read_mla_tensors(config.mla, dim, absl::StrCat(prefix, "self_attn."), source,
                                   &layer->attention));
  RETURN_IF_ERROR(source->vector(absl::StrCat(prefix, "post_attention_layernorm.weight"), dim,
                                 &layer->post_attention_norm));
  layer->is_moe = config.is_moe_layer(layer_idx);
  if (!layer->is_moe) {
    return read_ffn_tensors(
        {.prefix = absl::StrCat(prefix, "mlp."), .hidden_dim = dim, .ffn_dim = config.dense_dim},
        source, &layer->ffn);
  }
  RETURN_IF_ERROR(read_gate(config, layer_idx, source, &layer->gate));
  if (config.moe.shared_expert_dim == 0) return absl::OkStatus();
  return read_ffn_tensors({.prefix = absl::StrCat(prefix, "mlp.shared_experts."),
                           .hidden_dim = dim,
                           .ffn_dim = config.moe.shared_expert_dim},
                          source, &layer->ffn);
}

// A head that is the embedding stays as that does; only who names it alone is told.
absl::Status check_tied_head(const WeightTypes& types, const Weight& head) {
  if (!types.head_is_named || !types.head || *types.head == head.dtype) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--weights head=", std::string(dtype_name(*types.head)),
                   ": the head of this model is its embedding, which stays as stored, ",
                   std::string(dtype_name(head.dtype))));
}

}  // namespace

std::string layer_prefix(int32_t layer_idx) {
  return absl::StrCat("model.layers.", layer_idx, ".");
}

absl::Status read_trunk_tensors(const ModelConfig& config, TensorSource* source,
                                TrunkWeights* trunk) {
  MatrixSpec table = {.name = "model.embed_tokens.weight",
                      .num_rows = config.vocab_size,
                      .num_cols = config.hidden_dim,
                      .may_be_fp8 = false};
  RETURN_IF_ERROR(source->matrix(table, &trunk->embedding));
  trunk->layers.resize(static_cast<size_t>(config.num_layers));
  for (int32_t i = 0; i < config.num_layers; ++i) {
    RETURN_IF_ERROR(read_layer(config, i, source, &trunk->layers[static_cast<size_t>(i)]));
  }
  RETURN_IF_ERROR(source->vector("model.norm.weight", config.hidden_dim, &trunk->final_norm));
  if (config.tie_embeddings) {
    trunk->head = trunk->embedding;
    return check_tied_head(source->types(), trunk->head);
  }
  table.name = "lm_head.weight";
  table.group = WeightGroup::kHead;
  return source->matrix(table, &trunk->head);
}

absl::Status read_gate_tensors(const ModelConfig& config, TensorSource* source,
                               std::vector<GateWeights>* layers) {
  layers->resize(static_cast<size_t>(config.num_layers));
  for (int32_t i = 0; i < config.num_layers; ++i) {
    if (!config.is_moe_layer(i)) continue;
    RETURN_IF_ERROR(read_gate(config, i, source, &(*layers)[static_cast<size_t>(i)]));
  }
  return absl::OkStatus();
}

absl::Status read_ffn_tensors(const FfnSpec& spec, TensorSource* source, FfnWeights* ffn) {
  MatrixSpec matrix = {.name = absl::StrCat(spec.prefix, "gate_proj.weight"),
                       .num_rows = spec.ffn_dim,
                       .num_cols = spec.hidden_dim,
                       .group = spec.group};
  RETURN_IF_ERROR(source->matrix(matrix, &ffn->gate));
  matrix.name = absl::StrCat(spec.prefix, "up_proj.weight");
  RETURN_IF_ERROR(source->matrix(matrix, &ffn->up));
  matrix.name = absl::StrCat(spec.prefix, "down_proj.weight");
  std::swap(matrix.num_rows, matrix.num_cols);
  return source->matrix(matrix, &ffn->down);
}

}  // namespace conclave
