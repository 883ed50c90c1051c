// Layouts that say the same give the same weights: experts of their own or fused, scales in another
// shard or another format, a head that is the embedding.

#include <gtest/gtest.h>

#include <cmath>

#include "common/check.h"
#include "tests/model/weights/loaded_model.h"

namespace conclave {
namespace {

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

TEST(WeightLayouts, FusedExpertsAreTheSame) {
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
TEST(WeightLayouts, FusedFp8KeepsItsGrid) {
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

TEST(WeightLayouts, ScalesMayLieInAnotherShard) {
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

TEST(WeightLayouts, ScalesMayBeBf16) {
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

TEST(WeightLayouts, TiedHeadIsTheEmbedding) {
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

TEST(WeightLayouts, OldRotaryTablesAreIgnored) {
  const Model model = open_golden("moonlight");
  std::vector<FakeTensor> tensors = tensors_of(*model.checkpoint);
  tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {1}, "abcd"});
  const TempDir dir;
  dir.write("model.safetensors", safetensors_file(tensors));
  expect_same(experts_of(open_dir(dir, model.config)), experts_of(model));
}

}  // namespace
}  // namespace conclave
