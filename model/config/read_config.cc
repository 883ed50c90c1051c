#include "model/config/read_config.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/checkpoint/mapped_file.h"
#include "model/config/family.h"
#include "model/config/json_reader.h"
#include "nlohmann/json.hpp"

namespace conclave {
namespace {

constexpr uint64_t kMaxConfigBytes = 4 << 20;

std::string known_model_types() {
  std::string list;
  for (const Family* family : all_families()) {
    for (const std::string_view type : family->model_types()) {
      absl::StrAppend(&list, list.empty() ? "" : ", ", std::string(type));
    }
  }
  return list;
}

}  // namespace

absl::StatusOr<ModelConfig> parse_model_config(std::string_view text, std::string_view where) {
  ASSIGN_OR_RETURN(const nlohmann::json json, parse_json(text, where));
  ASSIGN_OR_RETURN(const JsonReader reader, JsonReader::of(&json, where));

  std::string model_type;
  RETURN_IF_ERROR(reader.read("model_type", std::nullopt, &model_type));
  const Family* const family = find_family(model_type);
  if (family == nullptr) {
    return reader.unimplemented(
        "model_type",
        absl::StrCat("a family that this build does not know (", known_model_types(), ")"));
  }
  for (const char* nested : {"text_config", "language_config"}) {
    if (reader.has(nested)) {
      return reader.unimplemented(nested, "and this build reads no model inside a model");
    }
  }
  ASSIGN_OR_RETURN(ModelConfig config, family->parse(reader));
  config.model_type = std::move(model_type);
  config.family = std::string(family->name());
  return config;
}

absl::StatusOr<ModelConfig> read_model_config(const std::string& dir) {
  const std::string path = absl::StrCat(dir, "/config.json");
  ASSIGN_OR_RETURN(const std::string text, read_small_file(path, kMaxConfigBytes));
  return parse_model_config(text, path);
}

absl::StatusOr<GenerationConfig> read_generation_config(const std::string& dir,
                                                        const ModelConfig& model) {
  const std::string path = absl::StrCat(dir, "/generation_config.json");
  const absl::StatusOr<std::string> text = read_small_file(path, kMaxConfigBytes);
  GenerationConfig config;
  if (!absl::IsNotFound(text.status())) {
    RETURN_IF_ERROR(text.status());
    ASSIGN_OR_RETURN(config, parse_generation_config(*text, path, model.vocab_size));
  }
  if (config.end_ids.empty()) config.end_ids = model.end_ids;
  return config;
}

}  // namespace conclave
