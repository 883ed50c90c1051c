// Reads config.json and generation_config.json of a Hugging Face folder.
//
// Errors name the file and the field: INVALID_ARGUMENT for what is wrong or out of range,
// UNIMPLEMENTED for a family, gate, rope type, activation or quantisation that this build does not
// know, NOT_FOUND for a missing file. Nothing is guessed.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/config/model_config.h"

namespace conclave {

// `text` is the file's content and `where` its name for messages.
absl::StatusOr<ModelConfig> parse_model_config(std::string_view text, std::string_view where);

// Reads `dir`/config.json.
absl::StatusOr<ModelConfig> read_model_config(const std::string& dir);

// What the maker suggests for sampling, within the ranges that the sampler takes. Absent fields and
// null stay absent; a top_k of -1, which others write for "all", is 0.
struct GenerationConfig {
  std::vector<int32_t> end_ids;
  std::optional<bool> do_sample;  // false: greedy, whatever the temperature says
  std::optional<float> temperature;
  std::optional<float> top_p;
  std::optional<int32_t> top_k;
  std::optional<float> repetition_penalty;
};

absl::StatusOr<GenerationConfig> parse_generation_config(std::string_view text,
                                                         std::string_view where,
                                                         int32_t vocab_size);

// Reads `dir`/generation_config.json; an absent file is an empty answer. End ids that the file
// lacks come from `model`.
absl::StatusOr<GenerationConfig> read_generation_config(const std::string& dir,
                                                        const ModelConfig& model);

}  // namespace conclave
