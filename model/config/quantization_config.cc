#include "model/config/quantization_config.h"

#include <optional>
#include <string>

#include "common/status_macros.h"
#include "kernels/quantise.h"
#include "model/config/limits.h"
#include "nlohmann/json.hpp"

namespace conclave {
namespace {

absl::Status require(const JsonReader& json, std::string_view field,
                     const std::optional<std::string>& fallback, std::string_view known) {
  std::string value;
  RETURN_IF_ERROR(json.read(field, fallback, &value));
  if (value == known) return absl::OkStatus();
  return json.unimplemented(field, "a quantisation that this build does not know");
}

absl::Status read_block(const JsonReader& json, ModelConfig* config) {
  if (!json.has("weight_block_size")) {
    return json.unimplemented("weight_block_size", "and this build knows fp8 in blocks only");
  }
  const nlohmann::json& block = *json.find("weight_block_size");
  const auto good = [](const nlohmann::json& side) {
    return side.is_number_unsigned() && side.get<uint64_t>() >= 1 &&
           side.get<uint64_t>() <= kMaxFp8Block;
  };
  if (!block.is_array() || block.size() != 2 || !good(block[0]) || !good(block[1])) {
    return json.invalid("weight_block_size", "expected [rows, columns], both positive");
  }
  config->fp8_block_rows = block[0].get<int32_t>();
  config->fp8_block_cols = block[1].get<int32_t>();
  return absl::OkStatus();
}

// fp8 tensors that were not converted keep their blocks.
absl::Status read_int8(const JsonReader& json, ModelConfig* config) {
  RETURN_IF_ERROR(json.allow_only({"quant_method", "group_size", "weight_block_size"}));
  int32_t group_size = 0;
  RETURN_IF_ERROR(json.read("group_size", IntField{.min = 1, .max = INT32_MAX}, &group_size));
  if (group_size != kInt8Block) {
    return json.unimplemented("group_size", "and this build knows 128 only");
  }
  config->has_int8 = true;
  if (!json.has("weight_block_size")) return absl::OkStatus();
  return read_block(json, config);
}

}  // namespace

absl::Status read_quantization(const JsonReader& json, ModelConfig* config) {
  if (!json.has("quantization_config")) return absl::OkStatus();
  ASSIGN_OR_RETURN(const JsonReader quant, json.object("quantization_config"));
  std::string method;
  RETURN_IF_ERROR(quant.read("quant_method", std::nullopt, &method));
  if (method == kInt8Method) return read_int8(quant, config);
  RETURN_IF_ERROR(require(quant, "quant_method", std::nullopt, "fp8"));
  RETURN_IF_ERROR(quant.allow_only({"quant_method", "fmt", "activation_scheme", "scale_fmt",
                                    "weight_block_size", "modules_to_not_convert", "dequantize",
                                    "ignored_layers"}));
  RETURN_IF_ERROR(require(quant, "fmt", std::string("e4m3"), "e4m3"));
  RETURN_IF_ERROR(require(quant, "activation_scheme", std::string("dynamic"), "dynamic"));
  // ue8m0 scales are powers of two, stored as F32 like the others. The format also tells how
  // engines that quantise activations do it; ours stay f32.
  if (quant.has("scale_fmt")) {
    std::string format;
    RETURN_IF_ERROR(quant.read("scale_fmt", std::nullopt, &format));
    if (format != "ue8m0" && format != "float") {
      return quant.unimplemented("scale_fmt", "a scale format that this build does not know");
    }
  }
  return read_block(quant, config);
}

}  // namespace conclave
