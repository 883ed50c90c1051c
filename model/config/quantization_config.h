// quantization_config of fp8 checkpoints and of converted ones. Source: docs/models.md.
#pragma once

#include "absl/status/status.h"
#include "model/config/json_reader.h"
#include "model/config/model_config.h"

namespace conclave {

// quant_method of what `conclave convert` writes.
inline constexpr char kInt8Method[] = "conclave_int8";

// Fills `has_int8` and the fp8 blocks of `config`; leaves them where nothing is quantised. Which
// tensors are quantised their dtypes say, so a list of modules that are not converted says nothing
// new.
absl::Status read_quantization(const JsonReader& json, ModelConfig* config);

}  // namespace conclave
