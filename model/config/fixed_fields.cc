#include "model/config/fixed_fields.h"

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace conclave {
namespace {

// Absent and null always pass. Numbers compare as numbers, so 1 passes for 1.0.
struct FixedField {
  std::string_view name;
  std::string_view accepted;  // JSON
  std::string_view meaning;
};

constexpr FixedField kFixedFields[] = {
    {"attention_bias", "false", "biases in attention"},
    {"mlp_bias", "false", "biases in feed-forward layers"},
    {"use_mla", "true", "attention without a latent"},
    {"use_qk_norm", "false", "norms of queries and keys"},
    {"attn_logit_softcapping", "null", "capped attention scores"},
    {"final_logit_softcapping", "null", "capped logits"},
    {"sliding_window", "null", "sliding-window attention"},
    {"use_sliding_window", "false", "sliding-window attention"},
    {"partial_rotary_factor", "1.0", "rotation of a part of the rope dimensions"},
    {"index_topk", "null", "sparse attention with an indexer"},
    {"index_n_heads", "null", "sparse attention with an indexer"},
    {"index_head_dim", "null", "sparse attention with an indexer"},
    {"compress_ratios", "null", "compressed attention"},
    {"compress_rates", "null", "compressed attention"},
    {"compress_rope_theta", "null", "compressed attention"},
    {"o_groups", "null", "grouped output projections"},
    {"o_lora_rank", "null", "low-rank output projections"},
    {"swiglu_limit", "0", "a clamped activation"},
    {"num_hash_layers", "0", "routing by token id"},
    {"gate_temp", "1.0", "a gate with a temperature"},
    {"expert_dtype", "null", "experts in a format of their own"},
    {"hc_mult", "null", "hyper-connections"},
    {"embedding_multiplier", "1.0", "scaled embeddings"},
    {"residual_multiplier", "1.0", "scaled residuals"},
    {"attention_multiplier", "null", "a softmax scale of its own"},
    {"logits_scaling", "1.0", "scaled logits"},
    {"logit_scale", "1.0", "scaled logits"},
    {"compression_config", "null", "compressed tensors"},
    {"is_encoder_decoder", "false", "an encoder"},
    {"add_cross_attention", "false", "cross attention"},
};

}  // namespace

absl::Status check_fixed_fields(const JsonReader& json) {
  for (const FixedField& field : kFixedFields) {
    if (!json.has(field.name)) continue;
    const nlohmann::json accepted =
        nlohmann::json::parse(field.accepted.begin(), field.accepted.end(), nullptr, false);
    if (*json.find(field.name) != accepted) {
      return json.unimplemented(
          field.name, absl::StrCat("and this build does not know ", std::string(field.meaning)));
    }
  }
  if (json.has("layer_types")) {
    for (const nlohmann::json& type : *json.find("layer_types")) {
      if (type != "full_attention") {
        return json.unimplemented("layer_types", "expected nothing but \"full_attention\"");
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace conclave
