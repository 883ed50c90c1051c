#include "model/config/gate_config.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/config/limits.h"
#include "nlohmann/json.hpp"

namespace conclave {
namespace {

absl::Status read_method(const JsonReader& json, std::span<const GateChoice> choices,
                         const GateDefaults& defaults, GateConfig* gate) {
  std::string scoring;
  std::string method;
  RETURN_IF_ERROR(json.read("scoring_func", std::string(defaults.scoring), &scoring));
  RETURN_IF_ERROR(json.read("topk_method", std::string(defaults.method), &method));
  bool knows_scoring = false;
  for (const GateChoice& choice : choices) {
    if (choice.scoring == scoring && choice.method == method) {
      gate->method = choice.gate;
      return absl::OkStatus();
    }
    knows_scoring |= choice.scoring == scoring;
  }
  if (!knows_scoring) {
    return json.unimplemented("scoring_func", "a gate that this family does not have");
  }
  return json.unimplemented(
      "topk_method",
      absl::StrCat("a gate that this family does not have with scoring_func ", printable(scoring)));
}

// n_group and topk_group. A greedy gate has no groups, whatever they say.
absl::Status read_groups(const JsonReader& json, const GateDefaults& defaults, GateConfig* gate) {
  if (gate->method == GateMethod::kSoftmaxGreedy) return absl::OkStatus();
  if (!json.is_null("n_group")) {
    const int32_t most = std::min(gate->num_experts, kMaxGroups);
    RETURN_IF_ERROR(
        json.read("n_group", IntField{1, most, defaults.num_groups}, &gate->num_groups));
  }
  if (gate->num_experts % gate->num_groups != 0) {
    return json.invalid("n_group",
                        absl::StrCat("which does not divide the ", gate->num_experts, " experts"));
  }
  if (gate->num_groups > 1 || json.has("topk_group")) {
    const int32_t fallback = std::min(defaults.groups_per_token, gate->num_groups);
    RETURN_IF_ERROR(
        json.read("topk_group", IntField{1, gate->num_groups, fallback}, &gate->groups_per_token));
  }
  // A group's score is the sum of its two best.
  if (gate->method == GateMethod::kSigmoidNoAuxTc && gate->num_groups > 1 &&
      gate->num_experts / gate->num_groups < 2) {
    return json.invalid("n_group", "which leaves groups of one expert");
  }
  return absl::OkStatus();
}

absl::Status check_picks(const JsonReader& json, const GateConfig& gate) {
  const int32_t reachable = gate.num_experts / gate.num_groups * gate.groups_per_token;
  if (gate.experts_per_token <= reachable) return absl::OkStatus();
  return json.invalid("num_experts_per_tok",
                      absl::StrCat("but the gate can reach only ", reachable, " experts"));
}

absl::Status read_gate(const JsonReader& json, std::span<const GateChoice> choices,
                       const GateDefaults& defaults, GateConfig* gate) {
  RETURN_IF_ERROR(read_method(json, choices, defaults, gate));
  RETURN_IF_ERROR(json.read("num_experts_per_tok",
                            IntField{1, gate->num_experts, defaults.experts_per_token},
                            &gate->experts_per_token));
  RETURN_IF_ERROR(read_groups(json, defaults, gate));
  RETURN_IF_ERROR(check_picks(json, *gate));
  RETURN_IF_ERROR(json.read("norm_topk_prob", defaults.normalize, &gate->normalize));
  double scale = 1;
  RETURN_IF_ERROR(json.read("routed_scaling_factor", RealField{1e-6, 1e6, defaults.scale}, &scale));
  gate->scale = static_cast<float>(scale);
  return absl::OkStatus();
}

absl::Status read_expert_sizes(const JsonReader& json, const GateDefaults& defaults,
                               ModelConfig* config) {
  MoeConfig& moe = config->moe;
  RETURN_IF_ERROR(json.read("moe_intermediate_size", IntField{1, kMaxFfnDim}, &moe.expert_dim));
  int32_t num_shared = 0;
  if (!json.is_null("n_shared_experts")) {
    RETURN_IF_ERROR(json.read("n_shared_experts",
                              IntField{0, kMaxSharedExperts, defaults.num_shared_experts},
                              &num_shared));
  }
  if (int64_t{num_shared} * moe.expert_dim > kMaxFfnDim) {
    return json.invalid("n_shared_experts", absl::StrCat("which with moe_intermediate_size ",
                                                         moe.expert_dim, " is too large"));
  }
  moe.shared_expert_dim = num_shared * moe.expert_dim;
  return absl::OkStatus();
}

// Newer configs also list every layer's kind; the list must say what the two numbers say.
absl::Status check_layer_list(const JsonReader& json, const ModelConfig& config) {
  if (!json.has("mlp_layer_types")) return absl::OkStatus();
  const nlohmann::json& types = *json.find("mlp_layer_types");
  bool same = types.is_array() && types.size() == static_cast<size_t>(config.num_layers);
  for (int32_t i = 0; same && i < config.num_layers; ++i) {
    same = types[static_cast<size_t>(i)] == (config.is_moe_layer(i) ? "sparse" : "dense");
  }
  if (same) return absl::OkStatus();
  return json.unimplemented("mlp_layer_types",
                            "which is not what first_k_dense_replace and moe_layer_freq say");
}

}  // namespace

absl::Status read_moe(const JsonReader& json, std::span<const GateChoice> choices,
                      const GateDefaults& defaults, ModelConfig* config) {
  MoeConfig& moe = config->moe;
  if (json.is_null("n_routed_experts")) return absl::OkStatus();
  RETURN_IF_ERROR(json.read("n_routed_experts", IntField{1, kMaxExperts, defaults.num_experts},
                            &moe.gate.num_experts));
  RETURN_IF_ERROR(read_gate(json, choices, defaults, &moe.gate));
  RETURN_IF_ERROR(read_expert_sizes(json, defaults, config));
  RETURN_IF_ERROR(json.read("first_k_dense_replace",
                            IntField{0, kMaxLayers, defaults.first_moe_layer},
                            &moe.first_moe_layer));
  RETURN_IF_ERROR(json.read("moe_layer_freq", IntField{1, kMaxLayers, 1}, &moe.layer_freq));
  return check_layer_list(json, *config);
}

}  // namespace conclave
