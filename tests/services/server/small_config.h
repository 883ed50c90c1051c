// The shape of a small model: layer 0 is dense, 1 to 3 have eight experts each.
#pragma once

#include "model/config/model_config.h"

namespace conclave {

inline ModelConfig small_config() {
  ModelConfig config;
  config.num_layers = 4;
  config.hidden_dim = 32;
  config.vocab_size = 100;
  config.moe.gate.num_experts = 8;
  config.moe.gate.experts_per_token = 2;
  config.moe.first_moe_layer = 1;
  return config;
}

}  // namespace conclave
