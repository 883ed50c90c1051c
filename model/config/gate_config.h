// The mixture of experts of a config.json: sizes, which layers, and the gate. Source:
// docs/models.md.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "model/config/json_reader.h"
#include "model/config/model_config.h"

namespace conclave {

// One gate that a family may have, by the two fields that name it.
struct GateChoice {
  std::string_view scoring;  // scoring_func
  std::string_view method;   // topk_method
  GateMethod gate;
};

// Of the family's published class, for fields that a config.json may leave out.
struct GateDefaults {
  std::string_view scoring;
  std::string_view method;
  std::optional<int32_t> num_experts;  // none: the published classes disagree
  std::optional<int32_t> experts_per_token;
  int32_t num_shared_experts = 0;
  int32_t num_groups = 1;
  int32_t groups_per_token = 1;
  int32_t first_moe_layer = 0;
  bool normalize = false;
  double scale = 1;
};

// Fills config->moe, with no experts at all where n_routed_experts is null: every layer is dense.
absl::Status read_moe(const JsonReader& json, std::span<const GateChoice> choices,
                      const GateDefaults& defaults, ModelConfig* config);

}  // namespace conclave
