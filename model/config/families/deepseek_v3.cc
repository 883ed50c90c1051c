// DeepSeek-V3, R1, V3.1, Moonlight and Kimi-K2: latent attention, sigmoid gate with a balancing
// bias. Source: docs/models.md.
#include "common/status_macros.h"
#include "model/config/decoder_config.h"
#include "model/config/family.h"
#include "model/config/gate_config.h"
#include "model/config/mla_config.h"

namespace conclave {
namespace {

constexpr std::string_view kModelTypes[] = {"deepseek_v3", "kimi_k2"};

constexpr GateChoice kGates[] = {
    {"sigmoid", "noaux_tc", GateMethod::kSigmoidNoAuxTc},
};

class DeepseekV3 final : public Family {
 public:
  std::string_view name() const override { return "deepseek_v3"; }
  std::span<const std::string_view> model_types() const override { return kModelTypes; }

  absl::StatusOr<ModelConfig> parse(const JsonReader& json) const override {
    ModelConfig config;
    const DecoderDefaults decoder = {.max_positions = 4096, .bos_id = 0, .end_id = 1};
    RETURN_IF_ERROR(read_decoder(json, decoder, &config));
    RETURN_IF_ERROR(read_mla(json, &config.mla));
    const GateDefaults gate = {.scoring = "sigmoid",
                               .method = "noaux_tc",
                               .num_experts = 256,
                               .experts_per_token = 8,
                               .num_shared_experts = 1,
                               .num_groups = 8,
                               .groups_per_token = 4,
                               .first_moe_layer = 3,
                               .normalize = true,
                               .scale = 2.5};
    RETURN_IF_ERROR(read_moe(json, kGates, gate, &config));
    return config;
  }
};

}  // namespace

const Family* deepseek_v3_family() {
  static const DeepseekV3 family;
  return &family;
}

}  // namespace conclave
