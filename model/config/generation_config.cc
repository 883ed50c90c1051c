#include <algorithm>
#include <limits>

#include "absl/status/statusor.h"
#include "common/status_macros.h"
#include "model/config/json_reader.h"
#include "model/config/read_config.h"
#include "nlohmann/json.hpp"

namespace conclave {
namespace {

absl::Status read_real(const JsonReader& json, std::string_view field, const RealField& range,
                       std::optional<float>* out) {
  if (!json.has(field)) return absl::OkStatus();
  double value = 0;
  RETURN_IF_ERROR(json.read(field, range, &value));
  *out = static_cast<float>(value);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GenerationConfig> parse_generation_config(std::string_view text,
                                                         std::string_view where,
                                                         int32_t vocab_size) {
  ASSIGN_OR_RETURN(const nlohmann::json value, parse_json(text, where));
  ASSIGN_OR_RETURN(const JsonReader json, JsonReader::of(&value, where));

  GenerationConfig config;
  RETURN_IF_ERROR(json.read_ids("eos_token_id", vocab_size, &config.end_ids));
  if (json.has("do_sample")) {
    bool do_sample = false;
    RETURN_IF_ERROR(json.read("do_sample", std::nullopt, &do_sample));
    config.do_sample = do_sample;
  }
  // The ranges are those of validate() in model/sampler: what is read here can be sampled with.
  RETURN_IF_ERROR(read_real(json, "temperature", RealField{0, 100}, &config.temperature));
  constexpr double kAboveZero = std::numeric_limits<float>::denorm_min();
  RETURN_IF_ERROR(read_real(json, "top_p", RealField{kAboveZero, 1}, &config.top_p));
  RETURN_IF_ERROR(
      read_real(json, "repetition_penalty", RealField{0.01, 10}, &config.repetition_penalty));
  if (json.has("top_k")) {
    int32_t top_k = 0;
    RETURN_IF_ERROR(json.read("top_k", IntField{-1, INT32_MAX}, &top_k));
    config.top_k = std::max(0, top_k);  // -1 is how other engines write "all"
  }
  return config;
}

}  // namespace conclave
