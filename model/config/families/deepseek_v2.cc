// DeepSeek-V2, V2-Lite, V2.5, Coder-V2: latent attention, softmax gate. Source: docs/models.md.
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/config/decoder_config.h"
#include "model/config/family.h"
#include "model/config/gate_config.h"
#include "model/config/mla_config.h"

namespace conclave {
namespace {

constexpr std::string_view kModelTypes[] = {"deepseek_v2"};

constexpr GateChoice kGates[] = {
    {"softmax", "greedy", GateMethod::kSoftmaxGreedy},
    {"softmax", "gready",
     GateMethod::kSoftmaxGreedy},  // how the published class spells its default
    {"softmax", "group_limited_greedy", GateMethod::kSoftmaxGroupLimitedGreedy},
};

class DeepseekV2 final : public Family {
 public:
  std::string_view name() const override { return "deepseek_v2"; }
  std::span<const std::string_view> model_types() const override { return kModelTypes; }

  absl::StatusOr<ModelConfig> parse(const JsonReader& json) const override {
    ModelConfig config;
    // The two published classes disagree on the defaults of token ids, so there are none.
    RETURN_IF_ERROR(read_decoder(json, {.max_positions = 2048}, &config));
    RETURN_IF_ERROR(read_mla(json, &config.mla));
    if (!config.mla.rope.interleaved) {
      return json.unimplemented("rope_interleave", "this family stores interleaved pairs only");
    }
    const GateDefaults defaults = {.scoring = "softmax", .method = "greedy"};
    RETURN_IF_ERROR(read_moe(json, kGates, defaults, &config));

    // The makers' code does not normalise a single pick, and where it normalises it does not scale.
    // Other readers of these files do both, so a file that asks for both has no one meaning.
    GateConfig& gate = config.moe.gate;
    if (gate.experts_per_token == 1) gate.normalize = false;
    if (gate.normalize && gate.scale != 1.f) {
      return json.unimplemented("norm_topk_prob",
                                absl::StrCat("but routed_scaling_factor ", gate.scale,
                                             " is not 1: this family either normalises or scales"));
    }
    return config;
  }
};

}  // namespace

const Family* deepseek_v2_family() {
  static const DeepseekV2 family;
  return &family;
}

}  // namespace conclave
