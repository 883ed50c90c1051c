// quantization_config of fp8 checkpoints. Source: docs/models.md.
#pragma once

#include "absl/status/status.h"
#include "model/config/json_reader.h"
#include "model/config/model_config.h"

namespace conclave {

// Fills the fp8 blocks of `config`; leaves them 0 where nothing is quantised. Which tensors are fp8
// their dtypes say, so a list of modules that are not converted says nothing new.
absl::Status read_quantization(const JsonReader& json, ModelConfig* config);

}  // namespace conclave
