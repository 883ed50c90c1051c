// Weights that are converted at load:
//   - the groups that were asked for are int8, with the codes and scales of the plain loops, and
//     nothing else is;
//   - sizes that are said before loading are those after it, and progress ends where it should;
//   - an executor changes no number;
//   - what cannot be converted, or is asked for in vain, is an error that names the tensor.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "common/thread_pool.h"
#include "kernels/quantise.h"
#include "kernels/reference/reference.h"
#include "model/config/read_config.h"
#include "tests/model/checkpoint/expect_status.h"
#include "tests/model/checkpoint/fake_checkpoint.h"
#include "tests/model/weights/loaded_model.h"

namespace conclave {
namespace {

using absl::StatusCode;

void no_progress(uint64_t, uint64_t) {}

WeightTypes types(const std::string& text) { return *parse_weight_types(text); }

TrunkWeights load(const Model& model, const std::string& text) {
  auto trunk = load_trunk(*model.checkpoint, model.config, no_progress, {.types = types(text)});
  EXPECT_TRUE(trunk.ok()) << trunk.status();
  return *std::move(trunk);
}

ExpertWeights load_all(const Model& model, const std::string& text,
                       Executor* executor = inline_executor()) {
  auto experts = load_experts(*model.checkpoint, model.config, ExpertSet::all(model.config),
                              no_progress, {.types = types(text), .executor = executor});
  EXPECT_TRUE(experts.ok()) << experts.status();
  return *std::move(experts);
}

void expect_converted(const Weight& converted, const Weight& stored) {
  ASSERT_EQ(converted.dtype, DType::kI8);
  ASSERT_EQ(converted.num_rows, stored.num_rows);
  ASSERT_EQ(converted.num_cols, stored.num_cols);
  const size_t num_cols = static_cast<size_t>(stored.num_cols);
  const size_t num_blocks = static_cast<size_t>(num_int8_blocks(stored.num_cols));
  std::vector<float> row(num_cols);
  std::vector<int8_t> codes(num_cols);
  std::vector<float> scale(num_blocks);
  for (int32_t n = 0; n < stored.num_rows; ++n) {
    for (size_t k = 0; k < num_cols; ++k) {
      row[k] = reference::weight_at(stored, n, static_cast<int64_t>(k));
    }
    reference::quantise_row(row.data(), stored.num_cols, codes.data(), scale.data());
    ASSERT_EQ(std::memcmp(codes.data(), converted.row(n), num_cols), 0) << n;
    const float* const found =
        converted.scale + static_cast<size_t>(converted.first_row + n) * num_blocks;
    ASSERT_EQ(std::memcmp(scale.data(), found, num_blocks * sizeof(float)), 0) << n;
  }
}

class Int8WeightsTest : public testing::TestWithParam<const char*> {
 protected:
  const Model model_ = open_golden(GetParam());
};

TEST_P(Int8WeightsTest, GroupsThatWereAskedForAreConverted) {
  const TrunkWeights stored = load(model_, "stored");
  const TrunkWeights all = load(model_, "int8");
  const TrunkWeights attention = load(model_, "attention=int8");
  const DType type = stored.head.dtype;
  for (size_t i = 0; i < stored.layers.size(); ++i) {
    expect_converted(all.layers[i].attention.kv_a, stored.layers[i].attention.kv_a);
    expect_converted(all.layers[i].attention.o, stored.layers[i].attention.o);
    expect_converted(all.layers[i].ffn.down, stored.layers[i].ffn.down);
    expect_same(all.layers[i].attention.kv_b, stored.layers[i].attention.kv_b);
    EXPECT_NE(all.layers[i].attention.kv_b.dtype, DType::kI8);
    EXPECT_EQ(attention.layers[i].attention.o.dtype, DType::kI8);
    EXPECT_NE(attention.layers[i].ffn.down.dtype, DType::kI8);
    EXPECT_NE(all.layers[i].gate.weight.dtype, DType::kI8);
  }
  EXPECT_EQ(all.embedding.dtype, stored.embedding.dtype);
  EXPECT_EQ(attention.head.dtype, type);
  if (!model_.config.tie_embeddings) expect_converted(all.head, stored.head);
}

TEST_P(Int8WeightsTest, ExpertsAndThreads) {
  const ExpertWeights stored = load_all(model_, "stored");
  ThreadPool pool(3);
  const ExpertWeights converted = load_all(model_, "experts=int8", &pool);
  for (size_t layer = 0; layer < stored.layers.size(); ++layer) {
    for (size_t e = 0; e < stored.layers[layer].size(); ++e) {
      if (stored.layers[layer][e] == nullptr) continue;
      expect_converted(converted.layers[layer][e]->ffn.gate, stored.layers[layer][e]->ffn.gate);
      expect_converted(converted.layers[layer][e]->ffn.up, stored.layers[layer][e]->ffn.up);
      expect_converted(converted.layers[layer][e]->ffn.down, stored.layers[layer][e]->ffn.down);
    }
  }
}

// One that is let go gives its memory back, and one that stays keeps its own.
TEST_P(Int8WeightsTest, EveryExpertOwnsItsNumbers) {
  std::shared_ptr<const RoutedExpert> kept = load_all(model_, "experts=int8").layers[1][0];
  ASSERT_NE(kept, nullptr);
  EXPECT_EQ(kept.use_count(), 1);
  const ExpertWeights stored = load_all(model_, "stored");
  expect_converted(kept->ffn.down, stored.layers[1][0]->ffn.down);
  const auto is_own = [&](const Weight& weight) {
    return std::any_of(kept->owned_bytes.begin(), kept->owned_bytes.end(),
                       [&](const auto& bytes) { return bytes.get() == weight.data; });
  };
  EXPECT_TRUE(is_own(kept->ffn.down));
  EXPECT_LE(kept->owned_bytes.size(), 3u) << "and those of others are not among them";
}

TEST_P(Int8WeightsTest, SizesAreThoseOfWhatIsServed) {
  const auto size = measure_model(*model_.checkpoint, model_.config, types("int8"));
  const auto stored = measure_model(*model_.checkpoint, model_.config);
  ASSERT_TRUE(size.ok()) << size.status();
  EXPECT_EQ(size->total_params, stored->total_params);
  EXPECT_EQ(size->converted.experts, DType::kI8);
  EXPECT_EQ(stored->converted, WeightTypes());
  uint64_t last = 0;
  uint64_t total = 0;
  const auto progress = [&](uint64_t done, uint64_t all) {
    EXPECT_GE(done, last);
    EXPECT_LE(done, all);
    last = done;
    total = all;
  };
  const auto trunk =
      load_trunk(*model_.checkpoint, model_.config, progress, {.types = types("int8")});
  ASSERT_TRUE(trunk.ok()) << trunk.status();
  EXPECT_EQ(trunk->num_bytes, size->trunk_bytes);
  EXPECT_EQ(last, total);
  EXPECT_EQ(total, size->trunk_bytes);
  EXPECT_EQ(load_all(model_, "int8").num_bytes, size->all_expert_bytes);
}

TEST_P(Int8WeightsTest, AnotherTypeThanTheStoredOneIsRefused) {
  const std::string other = model_.checkpoint->find("model.norm.weight")->dtype == "F32"
                                ? "attention=f16"
                                : "attention=f32";
  for (const auto& status :
       {measure_model(*model_.checkpoint, model_.config, types(other)).status(),
        load_trunk(*model_.checkpoint, model_.config, no_progress, {.types = types(other)})
            .status()}) {
    expect_error(status, StatusCode::kInvalidArgument, {"self_attn.", other, "as stored"});
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, Int8WeightsTest,
                         testing::Values("deepseek_v2", "deepseek_v2_lite", "deepseek_v3",
                                         "deepseek_v3_fp8", "moonlight"),
                         [](const testing::TestParamInfo<const char*>& info) {
                           return std::string(info.param);
                         });

// Tensors of moonlight, which are moved by a byte so that bf16 lies unaligned.
TEST(Int8WeightsLayoutTest, UnalignedNumbers) {
  const Model model = open_golden("moonlight");
  TempDir dir;
  dir.write("model.safetensors", safetensors_file(tensors_of(*model.checkpoint), 1));
  const Model moved = open_dir(dir, model.config);
  expect_same(load(moved, "int8"), load(model, "int8"), model.config);
  expect_same(load_all(moved, "int8"), load_all(model, "int8"));
}

TEST(Int8WeightsLayoutTest, NotANumberIsNamed) {
  const std::string name = "model.layers.1.mlp.experts.2.up_proj.weight";
  const Model model = open_golden("moonlight");
  std::vector<FakeTensor> tensors = tensors_of(*model.checkpoint);
  FakeTensor* const tensor = find_tensor(&tensors, name);
  tensor->bytes.replace(tensor->bytes.size() - 2, 2, "\xc0\x7f");
  TempDir dir;
  dir.write("model.safetensors", safetensors_file(tensors));
  const Model bad = open_dir(dir, model.config);
  const auto experts = load_experts(*bad.checkpoint, bad.config, ExpertSet::all(bad.config),
                                    no_progress, {.types = types("int8")});
  expect_error(experts.status(), StatusCode::kInvalidArgument, {name, "NaN"});
}

TEST(Int8WeightsLayoutTest, AHeadThatIsTheEmbeddingStays) {
  const Model model = open_golden("moonlight");
  std::vector<FakeTensor> tensors = tensors_of(*model.checkpoint);
  remove_tensor(&tensors, "lm_head.weight");
  TempDir dir;
  dir.write("model.safetensors", safetensors_file(tensors));
  ModelConfig config = model.config;
  config.tie_embeddings = true;
  const Model tied = open_dir(dir, config);
  const TrunkWeights loaded = load(tied, "int8");
  EXPECT_EQ(loaded.head.data, loaded.embedding.data);
  EXPECT_NE(loaded.head.dtype, DType::kI8);
  EXPECT_EQ(measure_model(*tied.checkpoint, config, types("int8"))->converted.head, std::nullopt);
  expect_error(measure_model(*tied.checkpoint, config, types("head=int8")).status(),
               StatusCode::kInvalidArgument, {"head=int8", "embedding"});
}

}  // namespace
}  // namespace conclave
