// What loading must keep:
//   - every golden checkpoint loads; views show the numbers of the file, norms are their f32;
//   - the shards of the experts partition them, and each counts its own bytes only;
//   - layouts that say the same give the same weights: fused experts, scales in another shard,
//   numbers
//     that do not lie aligned.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "common/checked_math.h"
#include "model/config/read_config.h"
#include "model/weights/weights.h"
#include "tests/model/checkpoint/fake_checkpoint.h"

namespace conclave {
namespace {

void no_progress(uint64_t, uint64_t) {}

struct Model {
  ModelConfig config;
  std::unique_ptr<Checkpoint> checkpoint;
};

Model open_golden(const std::string& name) {
  auto config = read_model_config(golden_dir(name));
  auto checkpoint = Checkpoint::open(golden_dir(name));
  CHECK(config.ok() && checkpoint.ok());
  return {*std::move(config), *std::move(checkpoint)};
}

Model open_dir(const TempDir& dir, const ModelConfig& config) {
  auto checkpoint = Checkpoint::open(dir.path());
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  CHECK(checkpoint.ok());
  return {config, *std::move(checkpoint)};
}

TrunkWeights trunk_of(const Model& model) {
  auto trunk = load_trunk(*model.checkpoint, model.config, no_progress);
  EXPECT_TRUE(trunk.ok()) << trunk.status();
  CHECK(trunk.ok());
  return *std::move(trunk);
}

ExpertWeights experts_of(const Model& model, const ExpertRange& range = {}) {
  auto experts = load_experts(*model.checkpoint, model.config, range, no_progress);
  EXPECT_TRUE(experts.ok()) << experts.status();
  CHECK(experts.ok());
  return *std::move(experts);
}

// The value at (row, col), dequantised as kernels do.
float value_at(const Weight& w, int32_t row, int32_t col) {
  const int64_t at = int64_t{row} * w.num_cols + col;
  switch (w.dtype) {
    case DType::kF32:
      return static_cast<const float*>(w.data)[at];
    case DType::kBF16:
      return to_f32(static_cast<const bf16*>(w.data)[at]);
    case DType::kF16:
      return to_f32(static_cast<const f16*>(w.data)[at]);
    case DType::kF8E4M3:
      break;
  }
  const int32_t scale_row = (w.first_row + row) / w.block_rows;
  return to_f32(static_cast<const f8e4m3*>(w.data)[at]) *
         w.scale[scale_row * w.scale_cols + col / w.block_cols];
}

void expect_same(const Weight& a, const Weight& b) {
  ASSERT_EQ(a.num_rows, b.num_rows);
  ASSERT_EQ(a.num_cols, b.num_cols);
  for (int32_t row = 0; row < a.num_rows; ++row) {
    for (int32_t col = 0; col < a.num_cols; ++col) {
      ASSERT_EQ(value_at(a, row, col), value_at(b, row, col)) << row << ", " << col;
    }
  }
}

void expect_same(const FfnWeights& a, const FfnWeights& b) {
  expect_same(a.gate, b.gate);
  expect_same(a.up, b.up);
  expect_same(a.down, b.down);
}

void expect_same(const ExpertWeights& a, const ExpertWeights& b) {
  ASSERT_EQ(a.layers.size(), b.layers.size());
  for (size_t layer = 0; layer < a.layers.size(); ++layer) {
    ASSERT_EQ(a.layers[layer].size(), b.layers[layer].size());
    for (size_t e = 0; e < a.layers[layer].size(); ++e) {
      const FfnWeights* left = a.layers[layer][e].get();
      const FfnWeights* right = b.layers[layer][e].get();
      ASSERT_EQ(left == nullptr, right == nullptr);
      if (left != nullptr) expect_same(*left, *right);
    }
  }
}

void expect_same(const TrunkWeights& a, const TrunkWeights& b, const ModelConfig& config) {
  expect_same(a.embedding, b.embedding);
  expect_same(a.head, b.head);
  for (size_t i = 0; i < a.layers.size(); ++i) {
    expect_same(a.layers[i].attention.kv_a, b.layers[i].attention.kv_a);
    expect_same(a.layers[i].attention.kv_b, b.layers[i].attention.kv_b);
    expect_same(a.layers[i].attention.o, b.layers[i].attention.o);
    expect_same(a.layers[i].ffn, b.layers[i].ffn);
    EXPECT_EQ(std::memcmp(a.layers[i].input_norm, b.layers[i].input_norm,
                          sizeof(float) * static_cast<size_t>(config.hidden_dim)),
              0);
  }
}

class GoldenWeightsTest : public testing::TestWithParam<const char*> {
 protected:
  const Model model_ = open_golden(GetParam());
};

TEST_P(GoldenWeightsTest, TrunkIsWhole) {
  const ModelConfig& config = model_.config;
  const TrunkWeights trunk = trunk_of(model_);
  ASSERT_EQ(trunk.layers.size(), static_cast<size_t>(config.num_layers));
  EXPECT_EQ(trunk.embedding.num_rows, config.vocab_size);
  EXPECT_EQ(trunk.head.num_cols, config.hidden_dim);
  for (int32_t i = 0; i < config.num_layers; ++i) {
    const LayerWeights& layer = trunk.layers[static_cast<size_t>(i)];
    EXPECT_EQ(layer.is_moe, config.is_moe_layer(i));
    EXPECT_NEAR(layer.input_norm[0], 1, 1);  // goldens have 1 + 0.2 * noise
    EXPECT_EQ(layer.attention.q.data == nullptr, config.mla.q_lora_rank > 0);
    EXPECT_EQ(layer.attention.q_a_norm == nullptr, config.mla.q_lora_rank == 0);
    EXPECT_EQ(layer.attention.kv_a.num_rows, config.mla.cache_cols());
    EXPECT_EQ(layer.ffn.gate.num_rows,
              layer.is_moe ? config.moe.shared_expert_dim : config.dense_dim);
    const bool has_bias = layer.is_moe && config.moe.gate.method == GateMethod::kSigmoidNoAuxTc;
    EXPECT_EQ(layer.gate.bias != nullptr, has_bias);
  }
}

TEST_P(GoldenWeightsTest, ShardsPartitionTheExperts) {
  const ModelConfig& config = model_.config;
  const auto size = measure_model(*model_.checkpoint, config);
  ASSERT_TRUE(size.ok()) << size.status();
  constexpr int32_t kShards = 3;
  uint64_t bytes = 0;
  std::vector<int32_t> holders(static_cast<size_t>(config.moe.gate.num_experts));
  for (int32_t shard = 0; shard < kShards; ++shard) {
    const ExpertWeights experts = experts_of(model_, {shard, kShards});
    bytes += experts.num_bytes;
    for (int32_t layer = 0; layer < config.num_layers; ++layer) {
      for (int32_t e = 0; e < config.moe.gate.num_experts; ++e) {
        const bool mine = e * kShards / config.moe.gate.num_experts == shard;
        EXPECT_EQ(experts.find(layer, e) != nullptr, mine && config.is_moe_layer(layer));
        holders[static_cast<size_t>(e)] += mine && layer == 0;
      }
    }
    EXPECT_EQ(experts.find(-1, 0), nullptr);
    EXPECT_EQ(experts.find(0, config.moe.gate.num_experts), nullptr);
  }
  for (const int32_t count : holders) EXPECT_EQ(count, 1);
  EXPECT_EQ(bytes, size->all_expert_bytes);
}

TEST_P(GoldenWeightsTest, SizesAreThoseOfTheFiles) {
  const auto size = measure_model(*model_.checkpoint, model_.config);
  ASSERT_TRUE(size.ok()) << size.status();
  uint64_t stored = 0;
  for (const StoredTensor& tensor : model_.checkpoint->tensors()) stored += tensor.num_bytes;
  EXPECT_EQ(size->trunk_bytes + size->all_expert_bytes, stored);
  EXPECT_EQ(trunk_of(model_).num_bytes, size->trunk_bytes);
  EXPECT_GT(size->expert_bytes, 0u);
  EXPECT_LT(size->active_params, size->total_params);
  EXPECT_EQ(size->mtp_params, 0u);
}

TEST_P(GoldenWeightsTest, ProgressEndsAtTheTotal) {
  const auto size = measure_model(*model_.checkpoint, model_.config);
  ASSERT_TRUE(size.ok());
  uint64_t last = 0;
  uint64_t all = 0;
  const auto progress = [&](uint64_t done, uint64_t total) {
    EXPECT_GE(done, last);
    EXPECT_LE(done, total);
    last = done;
    all = total;
  };
  ASSERT_TRUE(load_trunk(*model_.checkpoint, model_.config, progress).ok());
  EXPECT_EQ(last, size->trunk_bytes);
  EXPECT_EQ(all, size->trunk_bytes);
}

// A header of odd length moves every number off its place.
TEST_P(GoldenWeightsTest, MisalignedNumbersAreTheSame) {
  const TempDir dir;
  dir.write("model.safetensors", safetensors_file(tensors_of(*model_.checkpoint), /*padding=*/1));
  const Model moved = open_dir(dir, model_.config);
  const TrunkWeights trunk = trunk_of(moved);
  const ExpertWeights experts = experts_of(moved);
  expect_same(trunk, trunk_of(model_), model_.config);
  expect_same(experts, experts_of(model_));
  const auto check_aligned = [](const Weight& w) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(w.data) % static_cast<uintptr_t>(dtype_bytes(w.dtype)),
              0u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(w.scale) % alignof(float), 0u);
  };
  check_aligned(trunk.embedding);
  for (const LayerWeights& layer : trunk.layers) check_aligned(layer.attention.kv_b);
  const int32_t last_layer = model_.config.num_layers - 1;
  check_aligned(experts.find(last_layer, 0)->down);
  EXPECT_EQ(trunk.num_bytes, trunk_of(model_).num_bytes);
}

INSTANTIATE_TEST_SUITE_P(All, GoldenWeightsTest,
                         testing::Values("deepseek_v2_lite", "deepseek_v2", "deepseek_v3",
                                         "deepseek_v3_fp8", "moonlight"));

TEST(LoadWeights, TheBardLoads) {
  const std::string dir = std::string(CONCLAVE_SOURCE_DIR) + "/models/bard";
  auto config = read_model_config(dir);
  auto checkpoint = Checkpoint::open(dir);
  ASSERT_TRUE(config.ok() && checkpoint.ok());
  const Model model = {*std::move(config), *std::move(checkpoint)};
  EXPECT_EQ(trunk_of(model).layers.size(), 4u);
  EXPECT_NE(experts_of(model).find(3, 15), nullptr);
  const auto size = measure_model(*model.checkpoint, model.config);
  ASSERT_TRUE(size.ok());
  EXPECT_GT(size->mtp_params, 0u) << "its layer of multi-token prediction is known and unused";
}

// One [E, ...] tensor out of the experts' own ones; `parts` one after the other in every slice.
FakeTensor fuse(std::vector<FakeTensor>* tensors, const std::string& layer,
                const std::string& fused, const std::vector<std::string>& parts,
                int32_t num_experts) {
  FakeTensor all = {layer + fused, "", {num_experts, 0, 0}, ""};
  for (int32_t e = 0; e < num_experts; ++e) {
    all.shape[1] = 0;
    for (const std::string& part : parts) {
      const std::string name = layer + std::to_string(e) + "." + part;
      const FakeTensor* tensor = find_tensor(tensors, name);
      CHECK(tensor != nullptr);
      all.dtype = tensor->dtype;
      all.shape[1] += tensor->shape[0];
      all.shape[2] = tensor->shape[1];
      all.bytes += tensor->bytes;
      remove_tensor(tensors, name);
    }
  }
  return all;
}

TEST(LoadWeights, FusedExpertsAreTheSame) {
  const Model model = open_golden("deepseek_v3");
  std::vector<FakeTensor> tensors = tensors_of(*model.checkpoint);
  const int32_t num_experts = model.config.moe.gate.num_experts;
  for (int32_t i = 1; i < model.config.num_layers; ++i) {
    const std::string prefix = "model.layers." + std::to_string(i) + ".mlp.experts.";
    tensors.push_back(fuse(&tensors, prefix, "gate_up_proj", {"gate_proj.weight", "up_proj.weight"},
                           num_experts));
    tensors.push_back(fuse(&tensors, prefix, "down_proj", {"down_proj.weight"}, num_experts));
  }
  const TempDir dir;
  dir.write("model.safetensors", safetensors_file(tensors));
  const Model fused = open_dir(dir, model.config);
  expect_same(experts_of(fused), experts_of(model));
  const ExpertRange half = {1, 2};
  EXPECT_EQ(experts_of(fused, half).num_bytes, experts_of(model, half).num_bytes);
  EXPECT_EQ(measure_model(*fused.checkpoint, fused.config)->total_params,
            measure_model(*model.checkpoint, model.config)->total_params);
}

// Fused fp8: 2 F = 384 rows have three blocks of 128, so the up rows begin in the middle of one.
TEST(LoadWeights, FusedFp8KeepsItsGrid) {
  const Model model = open_golden("deepseek_v3_fp8");
  std::vector<FakeTensor> tensors = tensors_of(*model.checkpoint);
  const int32_t num_experts = model.config.moe.gate.num_experts;
  for (int32_t i = 1; i < model.config.num_layers; ++i) {
    const std::string prefix = "model.layers." + std::to_string(i) + ".mlp.experts.";
    tensors.push_back(fuse(&tensors, prefix, "gate_up_proj", {"gate_proj.weight", "up_proj.weight"},
                           num_experts));
    tensors.push_back(fuse(&tensors, prefix, "down_proj", {"down_proj.weight"}, num_experts));
    FakeTensor scales =
        fuse(&tensors, prefix, "gate_up_proj_scale_inv",
             {"gate_proj.weight_scale_inv", "up_proj.weight_scale_inv"}, num_experts);
    std::vector<float> grid(static_cast<size_t>(num_experts * 3 * 2));
    for (size_t at = 0; at < grid.size(); ++at) grid[at] = 0.5f + static_cast<float>(at);
    scales.shape = {num_experts, 3, 2};
    scales.bytes.assign(reinterpret_cast<const char*>(grid.data()), grid.size() * sizeof(float));
    tensors.push_back(scales);
    tensors.push_back(
        fuse(&tensors, prefix, "down_proj_scale_inv", {"down_proj.weight_scale_inv"}, num_experts));
  }
  const TempDir dir;
  dir.write("model.safetensors", safetensors_file(tensors));
  const Model fused = open_dir(dir, model.config);
  const ExpertWeights ours = experts_of(fused);
  const ExpertWeights theirs = experts_of(model);
  const FfnWeights* ffn = ours.find(1, 2);
  ASSERT_NE(ffn, nullptr);
  expect_same(ffn->down, theirs.find(1, 2)->down);
  EXPECT_EQ(ffn->up.first_row, 192);
  const auto scale_of = [](const Weight& w, int32_t row, int32_t col) {
    return w.scale[(w.first_row + row) / w.block_rows * w.scale_cols + col / w.block_cols];
  };
  // Expert 2 owns grid rows 6, 7, 8 of two columns.
  EXPECT_EQ(scale_of(ffn->gate, 127, 0), 12.5f);
  EXPECT_EQ(scale_of(ffn->gate, 128, 128), 15.5f);
  EXPECT_EQ(scale_of(ffn->up, 63, 0), 14.5f) << "row 255 of the fused matrix";
  EXPECT_EQ(scale_of(ffn->up, 64, 0), 16.5f);
}

TEST(LoadWeights, ScalesMayLieInAnotherShard) {
  const Model model = open_golden("deepseek_v3_fp8");
  std::vector<FakeTensor> weights;
  std::vector<FakeTensor> scales;
  std::string map;
  for (FakeTensor& tensor : tensors_of(*model.checkpoint)) {
    const bool is_scale = tensor.name.ends_with("_scale_inv");
    map += (map.empty() ? "\"" : ",\"") + tensor.name + "\":\"" +
           (is_scale ? "s.safetensors\"" : "w.safetensors\"");
    (is_scale ? scales : weights).push_back(std::move(tensor));
  }
  const TempDir dir;
  dir.write("w.safetensors", safetensors_file(weights));
  dir.write("s.safetensors", safetensors_file(scales));
  dir.write("model.safetensors.index.json", R"({"weight_map":{)" + map + "}}");
  const Model split = open_dir(dir, model.config);
  expect_same(trunk_of(split), trunk_of(model), model.config);
  expect_same(experts_of(split), experts_of(model));
}

TEST(LoadWeights, ScalesMayBeBf16) {
  const Model model = open_golden("deepseek_v3_fp8");
  std::vector<FakeTensor> tensors = tensors_of(*model.checkpoint);
  for (FakeTensor& tensor : tensors) {
    if (!tensor.name.ends_with("_scale_inv")) continue;
    tensor.dtype = "BF16";
    std::string halves;
    for (size_t at = 0; at < tensor.bytes.size(); at += 4) halves += tensor.bytes.substr(at + 2, 2);
    tensor.bytes = halves;
  }
  const TempDir dir;
  dir.write("model.safetensors", safetensors_file(tensors));
  const Model short_scales = open_dir(dir, model.config);
  const ExpertWeights ours = experts_of(short_scales);
  const ExpertWeights theirs = experts_of(model);
  const float exact = theirs.find(1, 0)->gate.scale[0];
  EXPECT_NEAR(ours.find(1, 0)->gate.scale[0], exact, std::abs(exact) / 100);
}

TEST(LoadWeights, TiedHeadIsTheEmbedding) {
  const Model model = open_golden("moonlight");
  for (const bool keep_head : {false, true}) {
    std::vector<FakeTensor> tensors = tensors_of(*model.checkpoint);
    if (!keep_head) remove_tensor(&tensors, "lm_head.weight");
    const TempDir dir;
    dir.write("model.safetensors", safetensors_file(tensors));
    Model tied = open_dir(dir, model.config);
    tied.config.tie_embeddings = true;
    const TrunkWeights trunk = trunk_of(tied);
    EXPECT_EQ(trunk.head.data, trunk.embedding.data);
    EXPECT_EQ(trunk.num_bytes, trunk_of(model).num_bytes - trunk.embedding.num_bytes());
  }
}

TEST(LoadWeights, OldRotaryTablesAreIgnored) {
  const Model model = open_golden("moonlight");
  std::vector<FakeTensor> tensors = tensors_of(*model.checkpoint);
  tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {1}, "abcd"});
  const TempDir dir;
  dir.write("model.safetensors", safetensors_file(tensors));
  expect_same(experts_of(open_dir(dir, model.config)), experts_of(model));
}

}  // namespace
}  // namespace conclave
