// A trunk of random weights in bf16, made in memory: enough to compute with, nothing to read.
#pragma once

#include <cstdint>

#include "model/config/model_config.h"
#include "model/weights/weights.h"

namespace conclave {

// DeepSeek-V3's kind of layers, the first one dense, of `hidden_dim` columns; the head dims are the
// real ones.
ModelConfig random_trunk_config(int32_t num_layers, int32_t hidden_dim);

TrunkWeights random_trunk(const ModelConfig& config);

}  // namespace conclave
