// What reading a config must keep: the numbers of every published family, in every spelling that
// was published, and one line that names file and field for what is wrong or unknown.

#include "model/config/read_config.h"

#include <gtest/gtest.h>

#include "tests/model/checkpoint/expect_status.h"
#include "tests/model/checkpoint/fake_checkpoint.h"
#include "tests/model/config/published_configs.h"

namespace conclave {
namespace {

using absl::StatusCode;

ModelConfig parse_good(const std::string& text) {
  auto config = parse_model_config(text, "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *std::move(config) : ModelConfig{};
}

TEST(PublishedConfig, V2Lite) {
  const ModelConfig config = parse_good(kV2Lite);
  EXPECT_EQ(config.model_type, "deepseek_v2");
  EXPECT_EQ(config.family, "deepseek_v2");
  EXPECT_EQ(config.num_layers, 27);
  EXPECT_EQ(config.hidden_dim, 2048);
  EXPECT_EQ(config.vocab_size, 102400);
  EXPECT_EQ(config.dense_dim, 10944);
  EXPECT_EQ(config.max_positions, 163840);
  EXPECT_EQ(config.num_mtp_layers, 0);
  EXPECT_FLOAT_EQ(config.rms_norm_eps, 1e-6f);
  EXPECT_FALSE(config.tie_embeddings);
  EXPECT_EQ(config.bos_id, 100000);
  EXPECT_EQ(config.end_ids, (std::vector<int32_t>{100001}));
  EXPECT_EQ(config.fp8_block_rows, 0);
  EXPECT_EQ(config.mla.q_lora_rank, 0);
  EXPECT_EQ(config.mla.cache_cols(), 576);
  EXPECT_EQ(config.mla.qk_head_dim(), 192);
  EXPECT_FLOAT_EQ(config.mla.softmax_scale, 0.1147214f);
  EXPECT_FLOAT_EQ(config.mla.latent_norm_eps, 1e-6f);
  EXPECT_EQ(config.mla.rope.num_dims, 64);
  EXPECT_TRUE(config.mla.rope.interleaved);
  EXPECT_EQ(config.mla.rope.factor, 40);
  EXPECT_EQ(config.mla.rope.original_max_positions, 4096);
  EXPECT_EQ(config.mla.rope.attention_factor, 1);
  EXPECT_EQ(config.moe.gate.method, GateMethod::kSoftmaxGreedy);
  EXPECT_EQ(config.moe.gate.num_experts, 64);
  EXPECT_EQ(config.moe.gate.experts_per_token, 6);
  EXPECT_EQ(config.moe.gate.num_groups, 1);
  EXPECT_FALSE(config.moe.gate.normalize);
  EXPECT_EQ(config.moe.gate.scale, 1.f);
  EXPECT_EQ(config.moe.expert_dim, 1408);
  EXPECT_EQ(config.moe.shared_expert_dim, 2816);
  EXPECT_FALSE(config.is_moe_layer(0));
  EXPECT_TRUE(config.is_moe_layer(1));
}

TEST(PublishedConfig, V2) {
  const ModelConfig config = parse_good(
      with(kV2Lite, R"({"hidden_size":5120,"intermediate_size":12288,"moe_intermediate_size":1536,
        "num_hidden_layers":60,"num_attention_heads":128,"num_key_value_heads":128,
        "q_lora_rank":1536,"n_routed_experts":160,"topk_method":"group_limited_greedy","n_group":8,
        "topk_group":3,"routed_scaling_factor":16.0})"));
  EXPECT_EQ(config.mla.q_lora_rank, 1536);
  EXPECT_EQ(config.moe.gate.method, GateMethod::kSoftmaxGroupLimitedGreedy);
  EXPECT_EQ(config.moe.gate.num_groups, 8);
  EXPECT_EQ(config.moe.gate.groups_per_token, 3);
  EXPECT_EQ(config.moe.gate.scale, 16.f);
  EXPECT_EQ(config.moe.shared_expert_dim, 3072);
}

TEST(PublishedConfig, V3) {
  const ModelConfig config = parse_good(kV3);
  EXPECT_EQ(config.family, "deepseek_v3");
  EXPECT_EQ(config.num_layers, 61);
  EXPECT_EQ(config.num_mtp_layers, 1);
  EXPECT_EQ(config.mla.q_lora_rank, 1536);
  EXPECT_FLOAT_EQ(config.mla.softmax_scale, 0.1352338f);
  EXPECT_EQ(config.moe.gate.method, GateMethod::kSigmoidNoAuxTc);
  EXPECT_EQ(config.moe.gate.num_groups, 8);
  EXPECT_EQ(config.moe.gate.groups_per_token, 4);
  EXPECT_TRUE(config.moe.gate.normalize);
  EXPECT_EQ(config.moe.gate.scale, 2.5f);
  EXPECT_EQ(config.moe.first_moe_layer, 3);
  EXPECT_EQ(config.fp8_block_rows, 128);
  EXPECT_EQ(config.fp8_block_cols, 128);
  EXPECT_EQ(config.end_ids, (std::vector<int32_t>{1}));
}

TEST(PublishedConfig, V31StoresPowersOfTwo) {
  const ModelConfig config =
      parse_good(with(kV3, R"({"quantization_config":{"activation_scheme":"dynamic","fmt":"e4m3",
        "quant_method":"fp8","scale_fmt":"ue8m0","weight_block_size":[128,128]}})"));
  EXPECT_EQ(config.fp8_block_rows, 128);
}

TEST(PublishedConfig, KimiK2) {
  const ModelConfig config =
      parse_good(with(kV3, R"({"model_type":"kimi_k2","vocab_size":163840,"num_attention_heads":64,
        "first_k_dense_replace":1,"n_routed_experts":384,"n_group":1,"topk_group":1,
        "routed_scaling_factor":2.827,"rope_theta":50000.0,"max_position_embeddings":131072,
        "num_nextn_predict_layers":0,"bos_token_id":163584,"eos_token_id":163585,
        "rope_scaling":{"beta_fast":1.0,"beta_slow":1.0,"factor":32.0,"mscale":1.0,
        "mscale_all_dim":1.0,"original_max_position_embeddings":4096,"type":"yarn"}})"));
  EXPECT_EQ(config.model_type, "kimi_k2");
  EXPECT_EQ(config.family, "deepseek_v3");
  EXPECT_FLOAT_EQ(config.mla.softmax_scale, 0.1308608f);
  EXPECT_EQ(config.mla.rope.theta, 50000);
  EXPECT_EQ(config.mla.rope.beta_fast, 1);
  EXPECT_EQ(config.moe.gate.num_groups, 1);
  EXPECT_EQ(config.moe.gate.num_experts, 384);
}

TEST(PublishedConfig, Moonlight) {
  const ModelConfig config =
      parse_good(with(without(kV3, "quantization_config"),
                      R"({"vocab_size":163840,"hidden_size":2048,"intermediate_size":11264,
        "moe_intermediate_size":1408,"num_hidden_layers":27,"num_attention_heads":16,
        "num_key_value_heads":16,"q_lora_rank":null,"n_routed_experts":64,"n_shared_experts":2,
        "num_experts_per_tok":6,"first_k_dense_replace":1,"n_group":1,"topk_group":1,
        "routed_scaling_factor":2.446,"rms_norm_eps":1e-5,"rope_theta":50000.0,
        "rope_scaling":null,"max_position_embeddings":8192,"num_nextn_predict_layers":0,
        "bos_token_id":163584,"eos_token_id":[163586]})"));
  EXPECT_EQ(config.mla.q_lora_rank, 0);
  EXPECT_FLOAT_EQ(config.mla.softmax_scale, 0.07216878f);
  EXPECT_EQ(config.mla.rope.factor, 0);
  EXPECT_FLOAT_EQ(config.rms_norm_eps, 1e-5f);
  EXPECT_FLOAT_EQ(config.mla.latent_norm_eps, 1e-6f) << "the latent norms have their own";
  EXPECT_EQ(config.end_ids, (std::vector<int32_t>{163586}));
}

TEST(ModelConfig, AbsentFieldsTakeTheDefaultsOfTheClass) {
  std::string text = kV3;
  for (const char* field : {"q_lora_rank",
                            "kv_lora_rank",
                            "qk_nope_head_dim",
                            "qk_rope_head_dim",
                            "v_head_dim",
                            "scoring_func",
                            "topk_method",
                            "n_group",
                            "topk_group",
                            "norm_topk_prob",
                            "routed_scaling_factor",
                            "n_shared_experts",
                            "n_routed_experts",
                            "num_experts_per_tok",
                            "first_k_dense_replace",
                            "moe_layer_freq",
                            "rms_norm_eps",
                            "hidden_act",
                            "bos_token_id",
                            "eos_token_id",
                            "tie_word_embeddings",
                            "attention_bias",
                            "rope_theta"}) {
    text = without(text, field);
  }
  const ModelConfig config = parse_good(text);
  const ModelConfig full = parse_good(kV3);
  EXPECT_EQ(config.mla.q_lora_rank, 1536);
  EXPECT_EQ(config.mla.cache_cols(), full.mla.cache_cols());
  EXPECT_EQ(config.mla.softmax_scale, full.mla.softmax_scale);
  EXPECT_EQ(config.moe.gate.num_groups, 8);
  EXPECT_EQ(config.moe.gate.scale, 2.5f);
  EXPECT_EQ(config.moe.first_moe_layer, 3);
  EXPECT_EQ(config.bos_id, 0);
  EXPECT_EQ(config.end_ids, full.end_ids);
}

TEST(ModelConfig, NullIsAValue) {
  const ModelConfig v2 =
      parse_good(with(kV2Lite, R"({"n_group":null,"topk_group":null,"eos_token_id":null,
        "bos_token_id":null,"n_shared_experts":null,"quantization_config":null})"));
  EXPECT_EQ(v2.moe.shared_expert_dim, 0);
  EXPECT_EQ(v2.bos_id, -1);
  EXPECT_TRUE(v2.end_ids.empty());
  const ModelConfig v3 = parse_good(with(kV3, R"({"n_group":null,"topk_group":null})"));
  EXPECT_EQ(v3.moe.gate.num_groups, 1);
  const ModelConfig dense = parse_good(with(kV2Lite, R"({"n_routed_experts":null})"));
  EXPECT_FALSE(dense.is_moe_layer(5));
}

TEST(ModelConfig, V2EitherNormalisesOrScales) {
  const ModelConfig normalised = parse_good(with(kV2Lite, R"({"norm_topk_prob":true})"));
  EXPECT_TRUE(normalised.moe.gate.normalize);
  EXPECT_EQ(normalised.moe.gate.scale, 1.f);
  const ModelConfig single = parse_good(with(
      kV2Lite, R"({"norm_topk_prob":true,"routed_scaling_factor":16.0,"num_experts_per_tok":1})"));
  EXPECT_FALSE(single.moe.gate.normalize);
  EXPECT_EQ(single.moe.gate.scale, 16.f);
}

TEST(ModelConfig, KnowsTheSpellingsOfOneGate) {
  const ModelConfig config = parse_good(with(kV2Lite, R"({"topk_method":"gready"})"));
  EXPECT_EQ(config.moe.gate.method, GateMethod::kSoftmaxGreedy);
}

TEST(ModelConfig, EndIdsAreANumberOrAList) {
  EXPECT_EQ(parse_good(with(kV3, R"({"eos_token_id":[1,2,1]})")).end_ids,
            (std::vector<int32_t>{1, 2}));
}

TEST(ModelConfig, EveryOtherLayerMayBeMoe) {
  const ModelConfig config =
      parse_good(with(kV3, R"({"moe_layer_freq":2,"first_k_dense_replace":3})"));
  EXPECT_FALSE(config.is_moe_layer(3));
  EXPECT_TRUE(config.is_moe_layer(4));
}

TEST(ModelConfig, ReadsWhatTransformers5Saves) {
  const ModelConfig config = parse_good(with(
      without(without(kV3, "rope_theta"), "rope_scaling"),
      R"({"rope_parameters":{"rope_type":"yarn","rope_theta":10000.0,"factor":40.0,"mscale":1.0,
        "mscale_all_dim":1.0,"beta_fast":32,"beta_slow":1,"original_max_position_embeddings":4096},
        "rope_interleave":true,"head_dim":64,"qk_head_dim":192,"dtype":"bfloat16"})"));
  EXPECT_FLOAT_EQ(config.mla.softmax_scale, 0.1352338f);
  EXPECT_EQ(config.mla.rope.factor, 40);
}

TEST(ModelConfig, GoldensAndTheBardAreRead) {
  for (const char* name :
       {"deepseek_v2_lite", "deepseek_v2", "deepseek_v3", "deepseek_v3_fp8", "moonlight"}) {
    const auto config = read_model_config(golden_dir(name));
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->vocab_size, 320);
    const auto generation = read_generation_config(golden_dir(name), *config);
    ASSERT_TRUE(generation.ok()) << generation.status();
    EXPECT_EQ(generation->end_ids, (std::vector<int32_t>{1}));
  }
  const std::string bard = std::string(CONCLAVE_SOURCE_DIR) + "/models/bard";
  EXPECT_TRUE(read_model_config(bard).ok());
}

TEST(ModelConfig, NamesAMissingFile) {
  const TempDir dir;
  expect_error(read_model_config(dir.path()).status(), StatusCode::kNotFound,
               {dir.file("config.json"), "No such file"});
  dir.write("config.json", "");
  expect_error(read_model_config(dir.path()).status(), StatusCode::kInvalidArgument,
               {dir.file("config.json"), "empty"});
  dir.write("config.json", std::string(5 << 20, ' '));
  expect_error(read_model_config(dir.path()).status(), StatusCode::kResourceExhausted,
               {dir.file("config.json")});
}

}  // namespace
}  // namespace conclave
