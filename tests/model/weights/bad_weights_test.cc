// Every checkpoint that is not the model its config describes gets one line with the file and the
// tensor, whichever part of the model is loaded.

#include <gtest/gtest.h>

#include <functional>

#include "model/config/read_config.h"
#include "model/weights/weights.h"
#include "tests/model/checkpoint/expect_status.h"
#include "tests/model/checkpoint/fake_checkpoint.h"

namespace conclave {
namespace {

using absl::StatusCode;
using Tensors = std::vector<FakeTensor>;

void no_progress(uint64_t, uint64_t) {}

struct BadWeights {
  const char* label;
  std::string golden;
  std::function<void(Tensors*, ModelConfig*)> spoil;
  std::vector<std::string> words;
  StatusCode code = StatusCode::kInvalidArgument;
  bool in_numbers = false;  // shows only where the numbers of the trunk are read
};

constexpr char kNorm[] = "model.layers.1.input_layernorm.weight";
constexpr char kExpert[] = "model.layers.1.mlp.experts.2.up_proj.weight";
constexpr char kExpertScale[] = "model.layers.1.mlp.experts.2.up_proj.weight_scale_inv";
constexpr char kFile[] = "model.safetensors";

void put_nan(Tensors* tensors, const std::string& name) {
  FakeTensor* tensor = find_tensor(tensors, name);
  tensor->bytes.replace(tensor->bytes.size() - 2, 2,
                        tensor->dtype == "F32" ? "\xff\x7f" : "\xc0\x7f");
}

void transpose(FakeTensor* tensor) { std::swap(tensor->shape[0], tensor->shape[1]); }

std::vector<BadWeights> bad_weights() {
  return {
      {"MissingNorm",
       "moonlight",
       [](Tensors* t, ModelConfig*) { remove_tensor(t, kNorm); },
       {kNorm, "missing"},
       StatusCode::kNotFound},
      {"MissingExpert",
       "moonlight",
       [](Tensors* t, ModelConfig*) { remove_tensor(t, kExpert); },
       {kExpert, "missing"},
       StatusCode::kNotFound},
      {"MissingBias",
       "moonlight",
       [](Tensors* t, ModelConfig*) {
         remove_tensor(t, "model.layers.2.mlp.gate.e_score_correction_bias");
       },
       {"model.layers.2.mlp.gate.e_score_correction_bias", "missing"},
       StatusCode::kNotFound},
      {"MissingHead",
       "moonlight",
       [](Tensors* t, ModelConfig*) { remove_tensor(t, "lm_head.weight"); },
       {"lm_head.weight", "missing"},
       StatusCode::kNotFound},
      {"Transposed",
       "moonlight",
       [](Tensors* t, ModelConfig*) { transpose(find_tensor(t, kExpert)); },
       {kFile, kExpert, "[72, 24]", "[24, 72]"}},
      {"FlatMatrix",
       "moonlight",
       [](Tensors* t, ModelConfig*) { find_tensor(t, kExpert)->shape = {24 * 72}; },
       {kFile, kExpert, "[1728]"}},
      {"WideNorm",
       "moonlight",
       [](Tensors* t, ModelConfig*) {
         find_tensor(t, kNorm)->shape = {1, 72};
       },
       {kFile, kNorm, "[1, 72]", "[72]"}},
      {"UnknownTensor",
       "moonlight",
       [](Tensors* t, ModelConfig*) {
         t->push_back({"model.layers.0.extra", "U8", {1}, "x"});
       },
       {kFile, "model.layers.0.extra"}},
      {"AttentionBias",
       "moonlight",
       [](Tensors* t, ModelConfig*) {
         t->push_back({"model.layers.0.self_attn.o_proj.bias", "U8", {1}, "x"});
       },
       {kFile, "self_attn.o_proj.bias"}},
      {"OneExpertMore",
       "moonlight",
       [](Tensors* t, ModelConfig*) {
         FakeTensor extra = *find_tensor(t, kExpert);
         extra.name = "model.layers.1.mlp.experts.24.up_proj.weight";
         t->push_back(extra);
       },
       {kFile, "experts.24"}},
      {"LayerThatTheConfigCutOff",
       "moonlight",
       [](Tensors*, ModelConfig* config) { config->num_layers = 2; },
       {kFile, "model.layers.2."}},
      {"MtpLayerWithUnknownPart",
       "moonlight",
       [](Tensors* t, ModelConfig*) {
         t->push_back({"model.layers.3.eh_proj.weight", "U8", {1}, "x"});
         t->push_back({"model.layers.3.mystery.weight", "U8", {1}, "x"});
       },
       {kFile, "model.layers.3.mystery.weight"}},
      {"SecondMtpLayer",
       "moonlight",
       [](Tensors* t, ModelConfig*) {
         t->push_back({"model.layers.4.eh_proj.weight", "U8", {1}, "x"});
       },
       {kFile, "model.layers.4.eh_proj.weight"}},
      {"AbsurdLayerNumber",
       "moonlight",
       [](Tensors* t, ModelConfig*) {
         t->push_back({"model.layers.99999999999999999999.mlp.x", "U8", {1}, "x"});
       },
       {kFile, "99999999999999999999"}},
      {"IntegerWeight",
       "moonlight",
       [](Tensors* t, ModelConfig*) { find_tensor(t, kExpert)->dtype = "I16"; },
       {kFile, kExpert, "I16"},
       StatusCode::kUnimplemented},
      {"DoubleWeight",
       "deepseek_v2_lite",
       [](Tensors* t, ModelConfig*) {
         FakeTensor* tensor = find_tensor(t, kNorm);
         tensor->dtype = "F64";
         tensor->bytes += tensor->bytes;
       },
       {kFile, kNorm, "F64"},
       StatusCode::kUnimplemented},
      {"Fp8Embedding",
       "deepseek_v3_fp8",
       [](Tensors* t, ModelConfig*) {
         FakeTensor* tensor = find_tensor(t, "model.embed_tokens.weight");
         tensor->dtype = "F8_E4M3";
         tensor->bytes.resize(tensor->bytes.size() / 2);
       },
       {kFile, "model.embed_tokens.weight", "F8_E4M3"},
       StatusCode::kUnimplemented},
      {"Fp8WithoutScale",
       "deepseek_v3_fp8",
       [](Tensors* t, ModelConfig*) { remove_tensor(t, kExpertScale); },
       {kFile, kExpert, kExpertScale, "missing"},
       StatusCode::kNotFound},
      {"Fp8WithoutBlocks",
       "deepseek_v3_fp8",
       [](Tensors*, ModelConfig* config) { config->fp8_block_rows = 0; },
       {kFile, "F8_E4M3", "quantization_config"}},
      {"ScaleWithoutFp8",
       "moonlight",
       [](Tensors* t, ModelConfig*) {
         t->push_back({kExpertScale, "F32", {1, 1}, "abcd"});
       },
       {kFile, kExpertScale, "BF16"}},
      {"ScaleWithoutWeight",
       "moonlight",
       [](Tensors* t, ModelConfig*) {
         t->push_back({"x.weight_scale_inv", "F32", {1}, "abcd"});
       },
       {kFile, "x.weight_scale_inv"}},
      {"ScaleOfOtherBlocks",
       "deepseek_v3_fp8",
       [](Tensors*, ModelConfig* config) { config->fp8_block_rows = 64; },
       {kFile, "_scale_inv", "asks for"}},
      {"IntegerScale",
       "deepseek_v3_fp8",
       [](Tensors* t, ModelConfig*) { find_tensor(t, kExpertScale)->dtype = "I32"; },
       {kFile, kExpertScale, "I32"},
       StatusCode::kUnimplemented},
      {"NanNorm",
       "moonlight",
       [](Tensors* t, ModelConfig*) { put_nan(t, kNorm); },
       {kFile, kNorm, "NaN"},
       StatusCode::kInvalidArgument,
       true},
      {"NanScale",
       "deepseek_v3_fp8",
       [](Tensors* t, ModelConfig*) {
         put_nan(t, "model.layers.0.self_attn.o_proj.weight_scale_inv");
       },
       {kFile, "model.layers.0.self_attn.o_proj.weight_scale_inv", "NaN"},
       StatusCode::kInvalidArgument,
       true},
      {"FusedOfOtherShape",
       "moonlight",
       [](Tensors* t, ModelConfig*) {
         t->push_back({"model.layers.1.mlp.experts.gate_up_proj", "BF16", {1, 1}, "xx"});
       },
       {kFile, "experts.gate_up_proj", "[24, 48, 72]"}},
  };
}

class BadWeightsTest : public testing::TestWithParam<BadWeights> {};

TEST_P(BadWeightsTest, NamesFileAndTensor) {
  const BadWeights& bad = GetParam();
  auto config = read_model_config(golden_dir(bad.golden));
  const auto golden = Checkpoint::open(golden_dir(bad.golden));
  ASSERT_TRUE(config.ok() && golden.ok());
  Tensors tensors = tensors_of(**golden);
  bad.spoil(&tensors, &*config);

  const TempDir dir;
  dir.write(kFile, safetensors_file(tensors));
  const auto checkpoint = Checkpoint::open(dir.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  std::vector<std::string> words = bad.words;
  words.push_back(dir.path());
  expect_error(load_trunk(**checkpoint, *config, no_progress).status(), bad.code, words);
  if (bad.in_numbers) return;
  expect_error(
      load_experts(**checkpoint, *config, *ExpertSet::shard(*config, {0, 2}), no_progress).status(),
      bad.code, words);
  expect_error(measure_model(**checkpoint, *config).status(), bad.code, words);
}

INSTANTIATE_TEST_SUITE_P(All, BadWeightsTest, testing::ValuesIn(bad_weights()),
                         [](const auto& param_info) {
                           return std::string(param_info.param.label);
                         });

TEST(BadWeights, ASetOfAnotherModel) {
  const auto config = read_model_config(golden_dir("moonlight"));
  const auto checkpoint = Checkpoint::open(golden_dir("moonlight"));
  ASSERT_TRUE(config.ok() && checkpoint.ok());
  for (const ExpertSet& held :
       {ExpertSet(), ExpertSet(config->num_layers, 23), ExpertSet(config->num_layers + 1, 24)}) {
    expect_error(load_experts(**checkpoint, *config, held, no_progress).status(),
                 StatusCode::kInvalidArgument, {"not one of this model"});
  }
}

}  // namespace
}  // namespace conclave
