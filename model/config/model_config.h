// What a model is, in numbers: everything the engine needs to know of a checkpoint, and nothing of
// how a config.json spells it. Families (model/config/families/) translate; nobody else reads the
// JSON.
//
// A ModelConfig that was handed out is valid: every size is positive and bounded, groups divide,
// and every method is one that this build implements. Plain data: copy it, print it, share it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/rope.h"

namespace conclave {

// Multi-head latent attention. Source: docs/models.md.
struct MlaConfig {
  int32_t num_heads = 0;         // H
  int32_t q_lora_rank = 0;       // 0: plain queries, no low-rank pair
  int32_t kv_lora_rank = 0;      // R
  int32_t qk_nope_head_dim = 0;  // a head's query and key without position
  int32_t qk_rope_head_dim = 0;  // P, shared by all heads on the key's side
  int32_t v_head_dim = 0;
  float softmax_scale = 0.f;      // with YaRN's m * m in it
  float latent_norm_eps = 1e-6f;  // q_a_layernorm and kv_a_layernorm; not rms_norm_eps
  RopeParams rope;

  int32_t qk_head_dim() const { return qk_nope_head_dim + qk_rope_head_dim; }
  int32_t cache_cols() const { return kv_lora_rank + qk_rope_head_dim; }  // R + P
};

enum class GateMethod {
  kSoftmaxGreedy,              // V2-Lite: top-K of the softmax
  kSoftmaxGroupLimitedGreedy,  // V2: the best groups by their best expert, then top-K
  kSigmoidNoAuxTc,             // V3: sigmoid, choice by score + bias, groups by their two best
};

// How a token's experts are chosen and weighed. Source: docs/models.md.
struct GateConfig {
  GateMethod method = GateMethod::kSoftmaxGreedy;
  int32_t num_experts = 0;        // E
  int32_t experts_per_token = 0;  // K
  int32_t num_groups = 1;         // divides E
  int32_t groups_per_token = 1;
  bool normalize = false;  // weights of a token sum to `scale`
  float scale = 1.f;
};

struct MoeConfig {
  GateConfig gate;
  int32_t expert_dim = 0;         // F of one routed expert
  int32_t shared_expert_dim = 0;  // all shared experts are one MLP of this width; 0: none
  int32_t first_moe_layer = 0;    // layers below it are dense
  int32_t layer_freq = 1;
};

struct ModelConfig {
  std::string model_type;  // as the file says it: deepseek_v2, deepseek_v3, kimi_k2
  std::string family;      // the file of model/config/families/ that read it

  int32_t num_layers = 0;     // L, without multi-token-prediction layers
  int32_t hidden_dim = 0;     // D
  int32_t vocab_size = 0;     // V, rows of the embedding; may exceed the tokenizer's size
  int32_t dense_dim = 0;      // intermediate size of a dense layer
  int32_t max_positions = 0;  // context limit
  float rms_norm_eps = 0.f;
  bool tie_embeddings = false;
  int32_t num_mtp_layers = 0;  // present in the checkpoint, recognised, unused

  MlaConfig mla;
  MoeConfig moe;

  // fp8 checkpoints: the block that one weight_scale_inv covers; 0 where nothing is quantised.
  int32_t fp8_block_rows = 0;
  int32_t fp8_block_cols = 0;

  // Converted checkpoints: tensors may be int8 with one scale per 128 columns (kernels/quantise.h).
  bool has_int8 = false;

  int32_t bos_id = -1;           // -1: none
  std::vector<int32_t> end_ids;  // of config.json; generation_config.json's win

  bool is_moe_layer(int32_t layer_idx) const {
    return moe.gate.num_experts > 0 && layer_idx >= moe.first_moe_layer &&
           layer_idx % moe.layer_freq == 0;
  }
};

}  // namespace conclave
