// Every config that is wrong or unknown gets one line with the file, the field and the value.

#include <gtest/gtest.h>

#include "model/config/limits.h"
#include "model/config/read_config.h"
#include "router/gates/rules.h"
#include "tests/model/checkpoint/expect_status.h"
#include "tests/model/config/published_configs.h"

namespace conclave {
namespace {

using absl::StatusCode;

static_assert(kMaxGroups == kMaxExpertGroups, "a config that is read has a gate");

absl::Status parse(const std::string& text) {
  return parse_model_config(text, "dir/config.json").status();
}

struct BadConfig {
  const char* label;
  std::string changes;  // over V3
  std::vector<std::string> words;
};

void expect_all(const std::vector<BadConfig>& configs, const char* base, StatusCode code) {
  for (const BadConfig& bad : configs) {
    SCOPED_TRACE(bad.label);
    std::vector<std::string> words = bad.words;
    words.push_back("dir/config.json");
    expect_error(parse(with(base, bad.changes)), code, words);
  }
}

TEST(BadConfig, SizesOutOfRange) {
  expect_all(
      {
          {"negative", R"({"hidden_size":-5})", {"hidden_size is -5", "1..1048576"}},
          {"zero", R"({"num_hidden_layers":0})", {"num_hidden_layers is 0"}},
          {"absurd", R"({"num_hidden_layers":1000000000})", {"num_hidden_layers", "1..1024"}},
          {"over 64 bits", R"({"vocab_size":18446744073709551615})", {"vocab_size"}},
          {"int64 min", R"({"vocab_size":-9223372036854775808})", {"vocab_size"}},
          {"text", R"({"hidden_size":"7168"})", {"hidden_size is \"7168\"", "integer"}},
          {"fraction", R"({"hidden_size":7168.5})", {"hidden_size is 7168.5", "integer"}},
          {"boolean", R"({"hidden_size":true})", {"hidden_size is true"}},
          {"null", R"({"hidden_size":null})", {"hidden_size is null"}},
          {"list", R"({"hidden_size":[1]})", {"hidden_size is a list"}},
          {"odd rope", R"({"qk_rope_head_dim":63})", {"qk_rope_head_dim is 63", "pairs"}},
          {"heads times dims",
           R"({"num_attention_heads":16384,"qk_nope_head_dim":65536,"v_head_dim":65536})",
           {"num_attention_heads", "too large"}},
          {"heads times latent",
           R"({"num_attention_heads":16384,"kv_lora_rank":1048576})",
           {"num_attention_heads is 16384", "too large"}},
          {"wide heads", R"({"v_head_dim":100000})", {"v_head_dim"}},
          {"shared experts",
           R"({"n_shared_experts":1024,"moe_intermediate_size":100000})",
           {"n_shared_experts", "too large"}},
          {"eps", R"({"rms_norm_eps":-1e-6})", {"rms_norm_eps"}},
          {"eps zero", R"({"rms_norm_eps":0})", {"rms_norm_eps is 0"}},
          {"positions", R"({"max_position_embeddings":-1})", {"max_position_embeddings"}},
          {"mtp", R"({"num_nextn_predict_layers":-1})", {"num_nextn_predict_layers"}},
      },
      kV3, StatusCode::kInvalidArgument);
}

TEST(BadConfig, GatesThatCannotWork) {
  expect_all(
      {
          {"groups", R"({"n_group":7})", {"n_group is 7", "256 experts"}},
          {"no group", R"({"n_group":0})", {"n_group is 0"}},
          {"more groups", R"({"topk_group":9})", {"topk_group is 9", "1..8"}},
          {"picks", R"({"num_experts_per_tok":300})", {"num_experts_per_tok is 300", "1..256"}},
          {"reach",
           R"({"topk_group":1,"num_experts_per_tok":33})",
           {"num_experts_per_tok is 33", "32 experts"}},
          {"many groups",
           R"({"n_routed_experts":1024,"n_group":512})",
           {"n_group is 512", "1..256"}},
          {"groups of one", R"({"n_group":256})", {"n_group is 256", "one expert"}},
          {"no experts", R"({"n_routed_experts":0})", {"n_routed_experts is 0"}},
          {"frequency", R"({"moe_layer_freq":0})", {"moe_layer_freq is 0"}},
          {"scale", R"({"routed_scaling_factor":0})", {"routed_scaling_factor"}},
          {"scale type", R"({"routed_scaling_factor":"2.5"})", {"routed_scaling_factor"}},
          {"normalise", R"({"norm_topk_prob":1})", {"norm_topk_prob is 1", "true or false"}},
          {"end id", R"({"eos_token_id":129280})", {"eos_token_id holds 129280", "below 129280"}},
          {"end id in a list", R"({"eos_token_id":[1,-2]})", {"eos_token_id holds -2"}},
          {"end id type", R"({"eos_token_id":"</s>"})", {"eos_token_id holds \"</s>\""}},
          {"begin id", R"({"bos_token_id":-1})", {"bos_token_id is -1"}},
      },
      kV3, StatusCode::kInvalidArgument);
}

std::string yarn(const std::string& changes) {
  const nlohmann::json base = nlohmann::json::parse(kV3);
  return R"({"rope_scaling":)" + with(base["rope_scaling"].dump(), changes) + "}";
}

TEST(BadConfig, Rope) {
  expect_all(
      {
          {"theta", R"({"rope_theta":0})", {"rope_theta is 0"}},
          {"theta one", R"({"rope_theta":1})", {"rope_theta is 1"}},
          {"theta text", R"({"rope_theta":"1e4"})", {"rope_theta"}},
          {"scaling is text", R"({"rope_scaling":"yarn"})", {"rope_scaling is \"yarn\""}},
          {"no type", R"({"rope_scaling":{"factor":4}})", {"rope_scaling.rope_type is missing"}},
          {"no factor", R"({"rope_scaling":{"type":"yarn"}})", {"rope_scaling.factor is missing"}},
          {"no original",
           R"({"rope_scaling":{"type":"yarn","factor":4}})",
           {"original_max_position_embeddings is missing"}},
          {"factor", yarn(R"({"factor":-1})"), {"rope_scaling.factor is -1"}},
          {"factor below 1", yarn(R"({"factor":0.5})"), {"rope_scaling.factor is 0.5"}},
          {"original", yarn(R"({"original_max_position_embeddings":0})"), {"original_max"}},
          {"betas", yarn(R"({"beta_fast":0.5})"), {"beta_fast is 0.5", "beta_slow"}},
          {"beta", yarn(R"({"beta_slow":-1})"), {"beta_slow is -1"}},
          {"mscale", yarn(R"({"mscale":1e30})"), {"mscale is 1e+30"}},
          {"negative mscale", yarn(R"({"mscale":-50})"), {"mscale is -50"}},
          {"negative all_dim", yarn(R"({"mscale_all_dim":-50})"), {"mscale"}},
          {"two types", yarn(R"({"rope_type":"default"})"), {"type is \"yarn\"", "default"}},
          {"two thetas",
           R"({"rope_parameters":{"rope_type":"default","rope_theta":2e4}})",
           {"rope_parameters.rope_theta is 20000"}},
          {"two ropes", R"({"rope_parameters":{"rope_type":"default"}})", {"rope_scaling"}},
      },
      kV3, StatusCode::kInvalidArgument);
}

TEST(BadConfig, UnknownMethods) {
  expect_all(
      {
          {"family",
           R"({"model_type":"deepseek_v32"})",
           {"model_type is \"deepseek_v32\"", "deepseek_v3, kimi_k2"}},
          {"nested", R"({"text_config":{}})", {"text_config"}},
          {"activation", R"({"hidden_act":"gelu"})", {"hidden_act is \"gelu\""}},
          {"scoring", R"({"scoring_func":"softmax"})", {"scoring_func is \"softmax\""}},
          {"method", R"({"topk_method":"greedy"})", {"topk_method is \"greedy\"", "sigmoid"}},
          {"linear", R"({"rope_scaling":{"type":"linear","factor":2}})", {"type is \"linear\""}},
          {"llama3", R"({"rope_scaling":{"rope_type":"llama3"}})", {"rope_type is \"llama3\""}},
          {"longrope", R"({"rope_parameters":{"rope_type":"longrope"}})", {"longrope"}},
          {"dynamic", R"({"rope_scaling":{"type":"dynamic","factor":2}})", {"dynamic"}},
          {"rope field", yarn(R"({"low_freq_factor":1})"), {"rope_scaling.low_freq_factor"}},
          {"truncate", yarn(R"({"truncate":false})"), {"truncate"}},
          {"partial", R"({"partial_rotary_factor":0.5})", {"partial_rotary_factor is 0.5"}},
          {"bias", R"({"attention_bias":true})", {"attention_bias is true", "biases"}},
          {"indexer", R"({"index_topk":2048})", {"index_topk is 2048", "indexer"}},
          {"window", R"({"sliding_window":4096})", {"sliding_window is 4096"}},
          {"clamp", R"({"swiglu_limit":10})", {"swiglu_limit is 10"}},
          {"hash layers", R"({"num_hash_layers":3})", {"num_hash_layers is 3"}},
          {"hyper-connections", R"({"hc_mult":4})", {"hc_mult is 4"}},
          {"no latent", R"({"use_mla":false})", {"use_mla is false"}},
          {"layer types", R"({"layer_types":["sliding_attention"]})", {"layer_types"}},
          {"mlp types", R"({"mlp_layer_types":["dense"]})", {"mlp_layer_types"}},
      },
      kV3, StatusCode::kUnimplemented);
  expect_all({{"v2 scoring", R"({"scoring_func":"sigmoid"})", {"scoring_func is \"sigmoid\""}},
              {"v2 method", R"({"topk_method":"noaux_tc"})", {"topk_method is \"noaux_tc\""}},
              {"v2 normalised and scaled",
               R"({"norm_topk_prob":true,"routed_scaling_factor":16.0})",
               {"norm_topk_prob is true", "routed_scaling_factor 16"}},
              {"v2 layout", R"({"rope_interleave":false})", {"rope_interleave is false"}}},
             kV2Lite, StatusCode::kUnimplemented);
}

std::string quant(const std::string& changes) {
  const nlohmann::json base = nlohmann::json::parse(kV3);
  return R"({"quantization_config":)" + with(base["quantization_config"].dump(), changes) + "}";
}

TEST(BadConfig, Quantisation) {
  expect_all(
      {
          {"awq",
           R"({"quantization_config":{"quant_method":"awq","bits":4}})",
           {"quantization_config.quant_method is \"awq\""}},
          {"int4",
           R"({"quantization_config":{"quant_method":"compressed-tensors"}})",
           {"compressed-tensors"}},
          {"e5m2", quant(R"({"fmt":"e5m2"})"), {"fmt is \"e5m2\""}},
          {"static", quant(R"({"activation_scheme":"static"})"), {"activation_scheme"}},
          {"per tensor", quant(R"({"weight_block_size":null})"), {"weight_block_size is null"}},
          {"scale format", quant(R"({"scale_fmt":"e4m3"})"), {"scale_fmt is \"e4m3\""}},
          {"unknown", quant(R"({"group_size":32})"), {"quantization_config.group_size is 32"}},
      },
      kV3, StatusCode::kUnimplemented);
  for (const char* block : {"[128]", "[0,128]", "[-1,128]", "[128,128,128]", "128", R"("128")",
                            "[128,1e9]", "[128,4294967296]"}) {
    expect_error(parse(with(kV3, quant(R"({"weight_block_size":)" + std::string(block) + "}"))),
                 StatusCode::kInvalidArgument, {"weight_block_size", "dir/config.json"});
  }
}

TEST(BadConfig, BrokenJson) {
  const std::vector<std::pair<std::string, std::string>> texts = {
      {"", "broken JSON"},
      {"{", "broken JSON"},
      {R"({"hidden_size":NaN})", "broken JSON"},
      {R"({"rope_theta":1e999})", "broken JSON"},
      {"{\"a\":\"\xff\"}", "broken JSON"},
      {R"({} {})", "broken JSON"},
      {"[1]", "a list"},
      {"7", "is 7"},
      {std::string(100000, '['), "deeper than 64"},
      {R"({"vocab_size":1,"vocab_size":2})", "\"vocab_size\" twice"},
      {R"({"a":{"b":1,"b":2}})", "\"b\" twice"},
      {"{}", "model_type is missing"},
      {R"({"model_type":null})", "model_type is null"},
      {R"({"model_type":"a\nb"})", "a\\nb"},
  };
  for (const auto& [text, word] : texts) {
    const absl::Status status = parse(text);
    EXPECT_FALSE(status.ok()) << text.substr(0, 40);
    expect_error(status, status.code(), {word, "dir/config.json"});
  }
}

TEST(BadConfig, EveryRequiredFieldIsNamed) {
  for (const char* field : {"model_type", "hidden_size", "vocab_size", "num_hidden_layers",
                            "num_attention_heads", "intermediate_size", "moe_intermediate_size"}) {
    expect_error(parse(without(kV3, field)), StatusCode::kInvalidArgument,
                 {std::string(field) + " is missing", "dir/config.json"});
  }
}

// Whatever single field is replaced by whatever value, the answer is a config or an error.
TEST(BadConfig, SurvivesEveryFieldChanged) {
  const nlohmann::json good = nlohmann::json::parse(kV3);
  for (const auto& [field, value] : good.items()) {
    for (const char* bad : {"null", "-1", "0", "1", "1e300", "\"x\"", "[]", "{}", "true",
                            "9223372036854775807", "[[]]", "[null,{}]"}) {
      nlohmann::json changed = good;
      changed[field] = nlohmann::json::parse(bad);
      const absl::Status status = parse(changed.dump());
      if (!status.ok()) expect_error(status, status.code(), {"dir/config.json"});
    }
  }
}

}  // namespace
}  // namespace conclave
