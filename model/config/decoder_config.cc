#include "model/config/decoder_config.h"

#include <string>

#include "common/status_macros.h"
#include "model/config/fixed_fields.h"
#include "model/config/limits.h"
#include "model/config/quantization_config.h"

namespace conclave {
namespace {

absl::Status read_sizes(const JsonReader& json, const DecoderDefaults& defaults,
                        ModelConfig* config) {
  RETURN_IF_ERROR(json.read("num_hidden_layers", IntField{1, kMaxLayers}, &config->num_layers));
  RETURN_IF_ERROR(json.read("hidden_size", IntField{1, kMaxHiddenDim}, &config->hidden_dim));
  RETURN_IF_ERROR(json.read("vocab_size", IntField{1, kMaxVocabSize}, &config->vocab_size));
  RETURN_IF_ERROR(json.read("intermediate_size", IntField{1, kMaxFfnDim}, &config->dense_dim));
  RETURN_IF_ERROR(json.read("max_position_embeddings",
                            IntField{1, kMaxPositions, defaults.max_positions},
                            &config->max_positions));
  if (json.has("num_nextn_predict_layers")) {
    RETURN_IF_ERROR(
        json.read("num_nextn_predict_layers", IntField{0, kMaxMtpLayers}, &config->num_mtp_layers));
  }
  return absl::OkStatus();
}

absl::Status read_token_ids(const JsonReader& json, const DecoderDefaults& defaults,
                            ModelConfig* config) {
  config->bos_id = -1;
  if (json.has("bos_token_id")) {
    RETURN_IF_ERROR(
        json.read("bos_token_id", IntField{0, config->vocab_size - 1}, &config->bos_id));
  } else if (!json.is_null("bos_token_id") && defaults.bos_id < config->vocab_size) {
    config->bos_id = defaults.bos_id;
  }
  if (json.has("eos_token_id")) {
    return json.read_ids("eos_token_id", config->vocab_size, &config->end_ids);
  }
  const bool has_default = defaults.end_id >= 0 && defaults.end_id < config->vocab_size;
  if (!json.is_null("eos_token_id") && has_default) config->end_ids = {defaults.end_id};
  return absl::OkStatus();
}

}  // namespace

absl::Status read_decoder(const JsonReader& json, const DecoderDefaults& defaults,
                          ModelConfig* config) {
  RETURN_IF_ERROR(check_fixed_fields(json));
  RETURN_IF_ERROR(read_sizes(json, defaults, config));

  double eps = 0;
  RETURN_IF_ERROR(json.read("rms_norm_eps", RealField{1e-30, 1, 1e-6}, &eps));
  config->rms_norm_eps = static_cast<float>(eps);
  RETURN_IF_ERROR(json.read("tie_word_embeddings", false, &config->tie_embeddings));

  std::string activation;
  RETURN_IF_ERROR(json.read("hidden_act", std::string("silu"), &activation));
  if (activation != "silu") {
    return json.unimplemented("hidden_act", "an activation that this build does not know (silu)");
  }
  RETURN_IF_ERROR(read_token_ids(json, defaults, config));
  return read_quantization(json, config);
}

}  // namespace conclave
