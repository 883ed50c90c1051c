// The published models by their parameter counts: every tensor they are made of, with its shape, in
// a file that has all its length and none of its blocks. Loading would page zeros in; measuring
// reads the header alone.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

#include "model/config/read_config.h"
#include "model/weights/weights.h"
#include "nlohmann/json.hpp"
#include "tests/model/checkpoint/fake_checkpoint.h"
#include "tests/model/config/published_configs.h"

namespace conclave {
namespace {

// Writes a header as long as the model, then sets the file's length.
class SparseFile {
 public:
  void add(const std::string& name, const std::vector<int64_t>& shape,
           const std::string& dtype = "BF16") {
    uint64_t bytes = dtype == "F32" ? 4 : dtype == "BF16" ? 2 : 1;
    for (const int64_t dim : shape) bytes *= static_cast<uint64_t>(dim);
    const nlohmann::json entry = {
        {"dtype", dtype}, {"shape", shape}, {"data_offsets", {end_, end_ + bytes}}};
    header_ += (header_.empty() ? "{\"" : ",\"") + name + "\":" + entry.dump();
    end_ += bytes;
  }

  // fp8 with its scales.
  void add_fp8(const std::string& name, int64_t rows, int64_t cols) {
    add(name, {rows, cols}, "F8_E4M3");
    add(name + "_scale_inv", {(rows + 127) / 128, (cols + 127) / 128}, "F32");
  }

  bool write(const TempDir& dir) const {
    const std::string head = raw_safetensors(header_ + "}", "");
    dir.write("model.safetensors", head);
    const auto length = static_cast<off_t>(head.size() + end_);
    return ::truncate(dir.file("model.safetensors").c_str(), length) == 0;
  }

 private:
  std::string header_;
  uint64_t end_ = 0;
};

SparseFile v2_lite() {
  SparseFile file;
  const auto ffn = [&](const std::string& prefix, int64_t dim) {
    file.add(prefix + "gate_proj.weight", {dim, 2048});
    file.add(prefix + "up_proj.weight", {dim, 2048});
    file.add(prefix + "down_proj.weight", {2048, dim});
  };
  file.add("model.embed_tokens.weight", {102400, 2048});
  for (int layer = 0; layer < 27; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    file.add(prefix + "input_layernorm.weight", {2048});
    file.add(prefix + "post_attention_layernorm.weight", {2048});
    file.add(prefix + "self_attn.q_proj.weight", {3072, 2048});
    file.add(prefix + "self_attn.kv_a_proj_with_mqa.weight", {576, 2048});
    file.add(prefix + "self_attn.kv_a_layernorm.weight", {512});
    file.add(prefix + "self_attn.kv_b_proj.weight", {4096, 512});
    file.add(prefix + "self_attn.o_proj.weight", {2048, 2048});
    if (layer == 0) {
      ffn(prefix + "mlp.", 10944);
      continue;
    }
    file.add(prefix + "mlp.gate.weight", {64, 2048});
    for (int e = 0; e < 64; ++e) ffn(prefix + "mlp.experts." + std::to_string(e) + ".", 1408);
    ffn(prefix + "mlp.shared_experts.", 2816);
  }
  file.add("model.norm.weight", {2048});
  file.add("lm_head.weight", {102400, 2048});
  return file;
}

void add_v3_layer(SparseFile* file, const std::string& prefix, bool is_moe) {
  file->add(prefix + "input_layernorm.weight", {7168});
  file->add(prefix + "post_attention_layernorm.weight", {7168});
  file->add_fp8(prefix + "self_attn.q_a_proj.weight", 1536, 7168);
  file->add(prefix + "self_attn.q_a_layernorm.weight", {1536});
  file->add_fp8(prefix + "self_attn.q_b_proj.weight", 24576, 1536);
  file->add_fp8(prefix + "self_attn.kv_a_proj_with_mqa.weight", 576, 7168);
  file->add(prefix + "self_attn.kv_a_layernorm.weight", {512});
  file->add_fp8(prefix + "self_attn.kv_b_proj.weight", 32768, 512);
  file->add_fp8(prefix + "self_attn.o_proj.weight", 7168, 16384);
  const auto ffn = [&](const std::string& part, int64_t dim) {
    file->add_fp8(prefix + part + "gate_proj.weight", dim, 7168);
    file->add_fp8(prefix + part + "up_proj.weight", dim, 7168);
    file->add_fp8(prefix + part + "down_proj.weight", 7168, dim);
  };
  if (!is_moe) return ffn("mlp.", 18432);
  file->add(prefix + "mlp.gate.weight", {256, 7168});
  file->add(prefix + "mlp.gate.e_score_correction_bias", {256}, "F32");
  for (int e = 0; e < 256; ++e) ffn("mlp.experts." + std::to_string(e) + ".", 2048);
  ffn("mlp.shared_experts.", 2048);
}

SparseFile v3() {
  SparseFile file;
  file.add("model.embed_tokens.weight", {129280, 7168});
  for (int layer = 0; layer < 62; ++layer) {
    add_v3_layer(&file, "model.layers." + std::to_string(layer) + ".", layer >= 3);
  }
  file.add("model.norm.weight", {7168});
  file.add("lm_head.weight", {129280, 7168});
  // Layer 61 predicts the token after the next.
  const std::string mtp = "model.layers.61.";
  for (const char* norm : {"enorm", "hnorm", "shared_head.norm"}) {
    file.add(mtp + norm + ".weight", {7168});
  }
  file.add(mtp + "eh_proj.weight", {7168, 14336});
  file.add(mtp + "embed_tokens.weight", {129280, 7168});
  file.add(mtp + "shared_head.head.weight", {129280, 7168});
  return file;
}

absl::StatusOr<ModelSize> measure(const TempDir& dir, const char* config_text) {
  const auto config = parse_model_config(config_text, "config.json");
  if (!config.ok()) return config.status();
  const auto checkpoint = Checkpoint::open(dir.path());
  if (!checkpoint.ok()) return checkpoint.status();
  return measure_model(**checkpoint, *config);
}

TEST(PublishedSizes, V2LiteHas15Point7Billion) {
  const TempDir dir;
  if (!v2_lite().write(dir)) GTEST_SKIP() << "no sparse files here: " << std::strerror(errno);
  const auto size = measure(dir, kV2Lite);
  ASSERT_TRUE(size.ok()) << size.status();
  EXPECT_EQ(size->total_params, 15'706'484'224u);
  EXPECT_EQ(size->trunk_bytes + size->all_expert_bytes, 2 * size->total_params);
  EXPECT_EQ(size->expert_bytes, 3u * 1408 * 2048 * 2);
  EXPECT_EQ(size->mtp_params, 0u);
}

TEST(PublishedSizes, V3Has671Billion) {
  const TempDir dir;
  if (!v3().write(dir)) GTEST_SKIP() << "no sparse files here: " << std::strerror(errno);
  const auto size = measure(dir, kV3);
  ASSERT_TRUE(size.ok()) << size.status();
  EXPECT_NEAR(static_cast<double>(size->total_params), 671.03e9, 0.01e9);
  EXPECT_NEAR(static_cast<double>(size->active_params), 36.6e9, 0.1e9);
  EXPECT_NEAR(static_cast<double>(size->mtp_params), 11.61e9 + 2 * 0.927e9, 0.02e9);
  EXPECT_EQ(size->expert_bytes, 3u * (2048 * 7168 + 16 * 56 * 4));
  EXPECT_EQ(size->all_expert_bytes, size->expert_bytes * 58 * 256);
}

}  // namespace
}  // namespace conclave
