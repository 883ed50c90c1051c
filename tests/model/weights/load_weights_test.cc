// What loading must keep:
//   - every golden checkpoint loads; views show the numbers of the file, norms are their f32;
//   - the shards of the experts partition them, and each counts its own bytes only;
//   - numbers that do not lie aligned are the same numbers;
//   - a file that was cut after it was opened is an error, not a signal.

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>

#include "model/config/read_config.h"
#include "tests/model/checkpoint/expect_status.h"
#include "tests/model/weights/loaded_model.h"

namespace conclave {
namespace {

bool can_populate(const Model& model) {
  const StoredTensor& tensor = model.checkpoint->tensors().front();
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(tensor.data) / page * page;
  return ::madvise(reinterpret_cast<void*>(begin), page, MADV_POPULATE_READ) == 0;
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

TEST(LoadWeights, GatesAloneAreTheTrunks) {
  for (const char* name : {"deepseek_v2_lite", "deepseek_v3", "deepseek_v3_fp8"}) {
    const Model model = open_golden(name);
    const TrunkWeights trunk = trunk_of(model);
    const auto gates = load_gates(*model.checkpoint, model.config);
    ASSERT_TRUE(gates.ok()) << gates.status();
    ASSERT_EQ(gates->layers.size(), trunk.layers.size());
    for (size_t i = 0; i < trunk.layers.size(); ++i) {
      const GateWeights& gate = gates->layers[i];
      ASSERT_EQ(gate.weight.data != nullptr, trunk.layers[i].is_moe);
      if (!trunk.layers[i].is_moe) continue;
      expect_same(gate.weight, trunk.layers[i].gate.weight);
      ASSERT_EQ(gate.bias == nullptr, trunk.layers[i].gate.bias == nullptr);
      for (int32_t e = 0; gate.bias != nullptr && e < model.config.moe.gate.num_experts; ++e) {
        EXPECT_EQ(gate.bias[e], trunk.layers[i].gate.bias[e]);
      }
    }
  }
}

// The kernel tells where it can (Linux 5.14); older ones send a signal, so there is nothing to
// test.
TEST(LoadWeights, AFileThatWasCutIsAnError) {
  const std::string source = golden_dir("deepseek_v2_lite") + "/model.safetensors";
  const TempDir dir;
  dir.write("model.safetensors", read_whole_file(source));
  const Model model = open_dir(dir, open_golden("deepseek_v2_lite").config);
  if (!can_populate(model)) GTEST_SKIP() << "no MADV_POPULATE_READ here";
  std::filesystem::resize_file(dir.file("model.safetensors"), 100'000);
  const auto experts = load_experts(*model.checkpoint, model.config, ExpertSet::all(model.config),
                                    [](uint64_t, uint64_t) {});
  expect_error(experts.status(), absl::StatusCode::kDataLoss, {"model.safetensors", "cut"});
}

}  // namespace
}  // namespace conclave
