#include "model/weights/trunk_tensors.h"

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
    return read_ffn_tensors(absl::StrCat(prefix, "mlp."), dim, config.dense_dim, source,
                            &layer->ffn);
  }
  RETURN_IF_ERROR(read_gate(config, layer_idx, source, &layer->gate));
  if (config.moe.shared_expert_dim == 0) return absl::OkStatus();
  return read_ffn_tensors(absl::StrCat(prefix, "mlp.shared_experts."), dim,
                          config.moe.shared_expert_dim, source, &layer->ffn);
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
    return absl::OkStatus();
  }
  table.name = "lm_head.weight";
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

absl::Status read_ffn_tensors(const std::string& prefix, int32_t hidden_dim, int32_t ffn_dim,
                              TensorSource* source, FfnWeights* ffn) {
  RETURN_IF_ERROR(
      source->matrix({absl::StrCat(prefix, "gate_proj.weight"), ffn_dim, hidden_dim}, &ffn->gate));
  RETURN_IF_ERROR(
      source->matrix({absl::StrCat(prefix, "up_proj.weight"), ffn_dim, hidden_dim}, &ffn->up));
  return source->matrix({absl::StrCat(prefix, "down_proj.weight"), hidden_dim, ffn_dim},
                        &ffn->down);
}

}  // namespace conclave
