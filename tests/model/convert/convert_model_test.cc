// A converted folder:
//   - holds what converting at load makes of the original, bit for bit, in one shard or in many,
//     and everything else as it was;
//   - appears whole or not at all, and never over something that is there;
//   - is as strictly read as any other: scales that are missing, of another shape or not finite
//     are errors that name the tensor.

#include "model/convert/convert_model.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "model/config/read_config.h"
#include "tests/model/checkpoint/expect_status.h"
#include "tests/model/checkpoint/fake_checkpoint.h"
#include "tests/model/weights/loaded_model.h"

namespace conclave {
namespace {

namespace fs = std::filesystem;
using absl::StatusCode;
using Tensors = std::vector<FakeTensor>;

void no_progress(uint64_t, uint64_t) {}

WeightTypes types(const std::string& text) { return *parse_weight_types(text); }

absl::Status convert(const Model& model, const ConvertOptions& options) {
  return convert_model(*model.checkpoint, model.config, options, no_progress);
}

Model open_converted(const std::string& dir) {
  auto config = read_model_config(dir);
  EXPECT_TRUE(config.ok()) << config.status();
  auto checkpoint = Checkpoint::open(dir);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  return {*std::move(config), *std::move(checkpoint)};
}

void expect_int8(const Weight& a, const Weight& b) {
  EXPECT_EQ(a.dtype, DType::kI8);
  EXPECT_EQ(b.dtype, DType::kI8);
  expect_same(a, b);
}

struct Case {
  const char* golden;
  const char* types;
  uint64_t max_shard_bytes;
};

class ConvertTest : public testing::TestWithParam<Case> {};

TEST_P(ConvertTest, IsWhatLoadingConverts) {
  const Model model = open_golden(GetParam().golden);
  TempDir dir;
  const LoadOptions asked{.types = types(GetParam().types)};
  ASSERT_TRUE(convert(model, {.out = dir.file("out/"),
                              .types = asked.types,
                              .max_shard_bytes = GetParam().max_shard_bytes})
                  .ok());
  const Model converted = open_converted(dir.file("out"));
  if (GetParam().max_shard_bytes < 1 << 20) {
    EXPECT_GT(converted.checkpoint->file_names().size(), 3u);
  }

  const auto trunk = load_trunk(*model.checkpoint, model.config, no_progress, asked);
  const auto experts = load_experts(*model.checkpoint, model.config, ExpertSet::all(model.config),
                                    no_progress, asked);
  const TrunkWeights mapped = trunk_of(converted);
  const ExpertWeights mapped_experts = experts_of(converted);
  expect_same(mapped, *trunk, model.config);
  expect_same(mapped_experts, *experts);
  EXPECT_EQ(mapped.num_bytes, trunk->num_bytes);
  EXPECT_EQ(mapped_experts.num_bytes, experts->num_bytes);
  const auto layer = static_cast<size_t>(model.config.moe.first_moe_layer);
  expect_int8(mapped_experts.layers[layer][0]->ffn.up, experts->layers[layer][0]->ffn.up);
  // Int8 already, so that nothing is converted whatever is asked for.
  const auto size = measure_model(*converted.checkpoint, converted.config, asked.types);
  ASSERT_TRUE(size.ok()) << size.status();
  EXPECT_EQ(size->converted, WeightTypes());
  expect_error(convert(converted, {.out = dir.file("again"), .types = asked.types}),
               StatusCode::kFailedPrecondition, {"nothing"});
}

INSTANTIATE_TEST_SUITE_P(Goldens, ConvertTest,
                         testing::Values(Case{"moonlight", "int8", uint64_t{4} << 30},
                                         Case{"deepseek_v3", "int8", 100'000},
                                         Case{"deepseek_v3_fp8", "int8", uint64_t{4} << 30},
                                         Case{"deepseek_v3_fp8", "experts=int8", 50'000},
                                         Case{"deepseek_v2_lite", "experts=int8,head=int8",
                                              uint64_t{4} << 30}),
                         [](const testing::TestParamInfo<Case>& info) {
                           return std::string(info.param.golden) + std::to_string(info.index);
                         });

TEST(ConvertFolderTest, OtherFilesComeAlong) {
  const Model model = open_golden("../../models/bard");
  TempDir dir;
  fs::create_directory(dir.file("out"));
  ASSERT_TRUE(convert(model, {.out = dir.file("out"), .types = types("int8")}).ok());
  const std::string from = golden_dir("../../models/bard");
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}) {
    EXPECT_EQ(read_whole_file(dir.file("out") + "/" + name), read_whole_file(from + "/" + name));
  }
  EXPECT_FALSE(fs::exists(dir.file("out") + "/golden.safetensors"));
  EXPECT_EQ(open_converted(dir.file("out")).config.vocab_size, model.config.vocab_size);
}

size_t num_entries(const std::string& dir) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(dir), fs::directory_iterator()));
}

TEST(ConvertFolderTest, WhatIsThereStays) {
  const Model model = open_golden("moonlight");
  TempDir dir;
  fs::create_directory(dir.file("full"));
  dir.write("full/mine", "x");
  dir.write("file", "x");
  for (const char* name : {"full", "file"}) {
    expect_error(convert(model, {.out = dir.file(name), .types = types("int8")}),
                 StatusCode::kFailedPrecondition, {name, "not an empty folder"});
  }
  expect_error(convert(model, {.out = dir.file("none/out"), .types = types("int8")}),
               StatusCode::kUnavailable, {"none/out"});
  EXPECT_EQ(num_entries(dir.path()), 2u);
}

TEST(ConvertFolderTest, NothingIsLeftOfWhatFailed) {
  const Model model = open_golden("moonlight");
  Tensors tensors = tensors_of(*model.checkpoint);
  FakeTensor* const bad = find_tensor(&tensors, "model.layers.2.mlp.experts.3.up_proj.weight");
  bad->bytes.replace(bad->bytes.size() - 2, 2, "\xc0\x7f");
  TempDir dir;
  fs::create_directory(dir.file("model"));
  dir.write("model/model.safetensors", safetensors_file(tensors));
  const auto checkpoint = Checkpoint::open(dir.file("model"));
  ASSERT_TRUE(checkpoint.ok());
  expect_error(convert_model(**checkpoint, model.config,
                             {.out = dir.file("out"), .types = types("int8")}, no_progress),
               StatusCode::kInvalidArgument, {bad->name, "NaN"});
  EXPECT_EQ(num_entries(dir.path()), 1u);
}

struct Spoilt {
  const char* label;
  void (*spoil)(Tensors*);
  std::vector<std::string> words;
  StatusCode code = StatusCode::kInvalidArgument;
};

constexpr char kWeight[] = "model.layers.1.self_attn.o_proj.weight";
constexpr char kScale[] = "model.layers.1.self_attn.o_proj.weight_scale";

class SpoiltFolderTest : public testing::TestWithParam<Spoilt> {};

TEST_P(SpoiltFolderTest, IsNamed) {
  TempDir dir;
  ASSERT_TRUE(
      convert(open_golden("moonlight"), {.out = dir.file("out"), .types = types("int8")}).ok());
  const Model whole = open_converted(dir.file("out"));
  Tensors tensors = tensors_of(*whole.checkpoint);
  GetParam().spoil(&tensors);
  dir.write("model.safetensors", safetensors_file(tensors));
  const auto checkpoint = Checkpoint::open(dir.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  expect_error(load_trunk(**checkpoint, whole.config, no_progress).status(), GetParam().code,
               GetParam().words);
}

INSTANTIATE_TEST_SUITE_P(
    Tensors, SpoiltFolderTest,
    testing::Values(Spoilt{"NoScale",
                           [](Tensors* t) { remove_tensor(t, kScale); },
                           {kWeight, kScale},
                           StatusCode::kNotFound},
                    Spoilt{"FlatScale",
                           [](Tensors* t) { find_tensor(t, kScale)->shape = {72}; },
                           {kScale, "[72]"}},
                    Spoilt{"NaNScale",
                           [](Tensors* t) {
                             find_tensor(t, kScale)->bytes.replace(0, 4,
                                                                   std::string("\0\0\xc0\x7f", 4));
                           },
                           {kScale, "NaN"}},
                    Spoilt{"CodesAsScale",
                           [](Tensors* t) {
                             FakeTensor* const scale = find_tensor(t, kScale);
                             scale->dtype = "I8";
                             scale->bytes.resize(scale->bytes.size() / 4);
                           },
                           {kScale, "I8"},
                           StatusCode::kUnimplemented},
                    Spoilt{"ScaleOfNothing",
                           [](Tensors* t) {
                             t->push_back({"model.norm.weight_scale", "U8", {1}, "x"});
                           },
                           {"model.norm.weight_scale", "scales"}},
                    Spoilt{"Int8Embedding",
                           [](Tensors* t) {
                             FakeTensor* const table = find_tensor(t, "model.embed_tokens.weight");
                             table->dtype = "I8";
                             table->bytes.resize(table->bytes.size() / 2);
                           },
                           {"model.embed_tokens.weight", "I8"},
                           StatusCode::kUnimplemented}),
    [](const testing::TestParamInfo<Spoilt>& info) { return std::string(info.param.label); });

TEST(SpoiltConfigTest, CodesNeedTheConfigsWord) {
  TempDir dir;
  const Model model = open_golden("moonlight");
  ASSERT_TRUE(convert(model, {.out = dir.file("out"), .types = types("int8")}).ok());
  const auto checkpoint = Checkpoint::open(dir.file("out"));
  expect_error(load_trunk(**checkpoint, model.config, no_progress).status(),
               StatusCode::kInvalidArgument, {"I8", "quantization_config"});
}

}  // namespace
}  // namespace conclave
