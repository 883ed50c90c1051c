// generation_config.json: its end ids win, absent fields stay absent, nonsense is named.

#include <gtest/gtest.h>

#include "model/config/read_config.h"
#include "model/sampler/sampling_params.h"
#include "tests/model/checkpoint/expect_status.h"
#include "tests/model/checkpoint/fake_checkpoint.h"

namespace conclave {
namespace {

using absl::StatusCode;

absl::StatusOr<GenerationConfig> parse(const std::string& text) {
  return parse_generation_config(text, "g.json", 1000);
}

TEST(GenerationConfig, ReadsWhatIsThere) {
  const auto config = parse(R"({"_from_model_config":true,"do_sample":true,"temperature":0.3,
    "top_p":0.95,"top_k":50,"repetition_penalty":1.05,"eos_token_id":[1,7],
    "transformers_version":"4.46.3"})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->do_sample, true);
  EXPECT_EQ(config->temperature, 0.3f);
  EXPECT_EQ(config->top_p, 0.95f);
  EXPECT_EQ(config->top_k, 50);
  EXPECT_EQ(config->repetition_penalty, 1.05f);
  EXPECT_EQ(config->end_ids, (std::vector<int32_t>{1, 7}));
}

TEST(GenerationConfig, AbsentAndNullStayAbsent) {
  for (const char* text : {"{}", R"({"temperature":null,"top_k":null,"eos_token_id":null})"}) {
    const auto config = parse(text);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_FALSE(config->do_sample.has_value());
    EXPECT_FALSE(config->temperature.has_value());
    EXPECT_FALSE(config->top_k.has_value());
    EXPECT_TRUE(config->end_ids.empty());
  }
}

TEST(GenerationConfig, TopKOfMinusOneIsOff) {
  const auto config = parse(R"({"top_k":-1})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->top_k, 0);
}

TEST(GenerationConfig, WhatIsReadCanBeSampledWith) {
  for (const char* text :
       {R"({"temperature":0,"top_p":2e-45,"top_k":-1,"repetition_penalty":0.01})",
        R"({"temperature":100,"top_p":1,"top_k":2147483647,"repetition_penalty":10})"}) {
    const auto config = parse(text);
    ASSERT_TRUE(config.ok()) << config.status();
    const SamplingParams params{.temperature = *config->temperature,
                                .top_k = *config->top_k,
                                .top_p = *config->top_p,
                                .repetition_penalty = *config->repetition_penalty};
    EXPECT_TRUE(validate(params, 1000).ok()) << validate(params, 1000);
  }
}

TEST(GenerationConfig, NamesNonsense) {
  const std::pair<const char*, const char*> bad[] = {
      {R"({"temperature":-1})", "temperature is -1"},
      {R"({"temperature":"hot"})", "temperature is \"hot\""},
      {R"({"temperature":NaN})", "broken JSON"},
      {R"({"top_p":0})", "top_p is 0"},
      {R"({"top_p":1.5})", "top_p is 1.5"},
      {R"({"temperature":100.5})", "temperature is 100.5"},
      {R"({"top_p":1e-50})", "top_p is 1e-50"},
      {R"({"top_k":-2})", "top_k is -2"},
      {R"({"top_k":2147483648})", "top_k is 2147483648"},
      {R"({"top_k":1.5})", "top_k is 1.5"},
      {R"({"repetition_penalty":0})", "repetition_penalty is 0"},
      {R"({"repetition_penalty":0.009})", "repetition_penalty is 0.009"},
      {R"({"repetition_penalty":10.5})", "repetition_penalty is 10.5"},
      {R"({"do_sample":1})", "do_sample is 1"},
      {R"({"eos_token_id":1000})", "eos_token_id holds 1000"},
      {R"({"eos_token_id":[[1]]})", "eos_token_id holds a list"},
      {"[]", "a list"},
  };
  for (const auto& [text, word] : bad) {
    expect_error(parse(text).status(), StatusCode::kInvalidArgument, {"g.json", word});
  }
}

TEST(GenerationConfig, EndIdsComeFromTheModelWhereTheFileLacksThem) {
  const TempDir dir;
  ModelConfig model;
  model.vocab_size = 10;
  model.end_ids = {3};
  EXPECT_EQ(read_generation_config(dir.path(), model)->end_ids, (std::vector<int32_t>{3}));
  dir.write("generation_config.json", R"({"temperature":1})");
  EXPECT_EQ(read_generation_config(dir.path(), model)->end_ids, (std::vector<int32_t>{3}));
  dir.write("generation_config.json", R"({"eos_token_id":4})");
  EXPECT_EQ(read_generation_config(dir.path(), model)->end_ids, (std::vector<int32_t>{4}));
  dir.write("generation_config.json", "{");
  expect_error(read_generation_config(dir.path(), model).status(), StatusCode::kInvalidArgument,
               {dir.file("generation_config.json")});
}

}  // namespace
}  // namespace conclave
