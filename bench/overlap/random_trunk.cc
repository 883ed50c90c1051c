#include "bench/overlap/random_trunk.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

namespace conclave {
namespace {

// Weights are cut from one pool of numbers, which nothing downstream can tell.
class Maker {
 public:
  explicit Maker(TrunkWeights* trunk) : trunk_(trunk), pool_(1 << 20) {
    std::normal_distribution<float> normal(0.f, 0.02f);
    for (bf16& value : pool_) value = to_bf16(normal(rng_));
  }

  Weight weight(int32_t num_rows, int32_t num_cols) {
    const auto count = static_cast<size_t>(num_rows) * static_cast<size_t>(num_cols);
    auto bytes = std::make_unique<std::byte[]>(count * sizeof(bf16));
    for (size_t done = 0; done < count;) {
      const size_t from = rng_() % pool_.size();
      const size_t some = std::min(count - done, pool_.size() - from);
      std::memcpy(bytes.get() + done * sizeof(bf16), &pool_[from], some * sizeof(bf16));
      done += some;
    }
    const Weight made{
        .data = bytes.get(), .dtype = DType::kBF16, .num_rows = num_rows, .num_cols = num_cols};
    trunk_->num_bytes += made.num_bytes();
    trunk_->owned_bytes.push_back(std::move(bytes));
    return made;
  }

  const float* ones(int32_t count) {
    auto values = std::make_unique<float[]>(static_cast<size_t>(count));
    std::fill_n(values.get(), count, 1.f);
    trunk_->owned.push_back(std::move(values));
    return trunk_->owned.back().get();
  }

  FfnWeights ffn(int32_t width, int32_t hidden_dim) {
    return {.gate = weight(width, hidden_dim),
            .up = weight(width, hidden_dim),
            .down = weight(hidden_dim, width)};
  }

 private:
  TrunkWeights* const trunk_;
  std::mt19937 rng_{7};
  std::vector<bf16> pool_;
};

MlaWeights attention(const ModelConfig& config, Maker* maker) {
  const MlaConfig& mla = config.mla;
  return {.q_a = maker->weight(mla.q_lora_rank, config.hidden_dim),
          .q_a_norm = maker->ones(mla.q_lora_rank),
          .q_b = maker->weight(mla.num_heads * mla.qk_head_dim(), mla.q_lora_rank),
          .kv_a = maker->weight(mla.cache_cols(), config.hidden_dim),
          .kv_a_norm = maker->ones(mla.kv_lora_rank),
          .kv_b = maker->weight(mla.num_heads * (mla.qk_nope_head_dim + mla.v_head_dim),
                                mla.kv_lora_rank),
          .o = maker->weight(config.hidden_dim, mla.num_heads * mla.v_head_dim)};
}

}  // namespace

ModelConfig random_trunk_config(int32_t num_layers, int32_t hidden_dim) {
  ModelConfig config;
  config.num_layers = num_layers;
  config.hidden_dim = hidden_dim;
  config.vocab_size = 1024;
  config.dense_dim = 3 * hidden_dim;
  config.max_positions = 4096;
  config.rms_norm_eps = 1e-6f;
  config.mla = {.num_heads = hidden_dim / 64,
                .q_lora_rank = 3 * hidden_dim / 8,
                .kv_lora_rank = 512,
                .qk_nope_head_dim = 128,
                .qk_rope_head_dim = 64,
                .v_head_dim = 128,
                .softmax_scale = 1.f / std::sqrt(192.f),
                .rope = {.num_dims = 64}};
  config.moe = {.gate = {.num_experts = 64, .experts_per_token = 8},
                .expert_dim = hidden_dim / 4,
                .shared_expert_dim = hidden_dim / 4,
                .first_moe_layer = 1};
  return config;
}

TrunkWeights random_trunk(const ModelConfig& config) {
  TrunkWeights trunk;
  Maker maker(&trunk);
  trunk.embedding = maker.weight(config.vocab_size, config.hidden_dim);
  trunk.final_norm = maker.ones(config.hidden_dim);
  trunk.head = maker.weight(config.vocab_size, config.hidden_dim);
  for (int32_t i = 0; i < config.num_layers; ++i) {
    LayerWeights layer{.input_norm = maker.ones(config.hidden_dim),
                       .attention = attention(config, &maker),
                       .post_attention_norm = maker.ones(config.hidden_dim),
                       .is_moe = config.is_moe_layer(i)};
    const int32_t width = layer.is_moe ? config.moe.shared_expert_dim : config.dense_dim;
    layer.ffn = maker.ffn(width, config.hidden_dim);
    if (layer.is_moe) {
      layer.gate.weight = maker.weight(config.moe.gate.num_experts, config.hidden_dim);
    }
    trunk.layers.push_back(layer);
  }
  return trunk;
}

}  // namespace conclave
