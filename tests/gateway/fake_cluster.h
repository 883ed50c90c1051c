// Servers that say who they are, for the tests of control: a model of four layers, of which the
// first is dense, with eight experts each.
#pragma once

#include <string>

#include "gateway/server_facts.h"
#include "model/config/model_config.h"

namespace conclave {

inline ModelConfig four_layers() {
  ModelConfig config;
  config.num_layers = 4;
  config.moe.gate.num_experts = 8;
  config.moe.first_moe_layer = 1;
  return config;
}

inline const std::string kWeights = "0123456789abcdef0123456789abcdef";

// Experts [first, first + count) of every MoE layer.
inline ExpertSet experts(int32_t first, int32_t count) {
  ExpertSet set(4, 8);
  for (int32_t layer = 1; layer < 4; ++layer) {
    for (int32_t i = 0; i < count; ++i) set.insert(layer, first + i);
  }
  return set;
}

inline NumericProfile profile(const std::string& instructions = "avx2") {
  return {.weights = kWeights,
          .weight_type = "stored",
          .kernel_version = 1,
          .instructions = instructions};
}

inline ServerFacts expert_server(const std::string& id, ExpertSet held) {
  return {.role = ServerRole::kExpertServer,
          .id = id,
          .incarnation = 1,
          .address = id + ":50052",
          .profile = profile(),
          .version = "0.1.0",
          .capacity_bytes = 1 << 20,
          .held_bytes = 1 << 10,
          .held = std::move(held)};
}

inline ServerFacts attention_node(const std::string& id, const std::string& cache_type = "bf16") {
  ServerFacts facts{.role = ServerRole::kAttentionNode,
                    .id = id,
                    .incarnation = 1,
                    .address = id + ":50051",
                    .metrics_address = id + ":9090",
                    .profile = profile(),
                    .version = "0.1.0",
                    .cache_tokens = 1000,
                    .max_requests = 4};
  facts.profile.wire_out = "bf16";
  facts.profile.wire_back = "bf16";
  facts.profile.cache_type = cache_type;
  facts.profile.attention_form = "absorbed";
  return facts;
}

}  // namespace conclave
