// YaRN's two factors by the rules of docs/models.md: what cos and sin are multiplied by, and m * m
// in the softmax scale.

#include "model/config/rope_config.h"

#include <gtest/gtest.h>

#include <cmath>

#include "nlohmann/json.hpp"

namespace conclave {
namespace {

RopeConfig read(const std::string& fields) {
  const auto json = parse_json("{" + fields + "}", "config.json");
  EXPECT_TRUE(json.ok()) << json.status();
  const auto rope = read_rope(*JsonReader::of(&*json, "config.json"));
  EXPECT_TRUE(rope.ok()) << rope.status();
  return rope.ok() ? *rope : RopeConfig{};
}

std::string yarn(const std::string& scales) {
  return R"("rope_scaling":{"type":"yarn","factor":40,"original_max_position_embeddings":4096)" +
         scales + "}";
}

constexpr double kG1 = 1.3688879454113936;  // 0.1 * ln 40 + 1

TEST(RopeConfig, BothScalesGiveTheirQuotient) {
  const RopeConfig rope = read(yarn(R"(,"mscale":1.0,"mscale_all_dim":0.707)"));
  EXPECT_NEAR(rope.params.attention_factor, kG1 / 1.2608037774, 1e-9);
  EXPECT_NEAR(rope.softmax_factor, 1.5896262, 1e-6);
}

TEST(RopeConfig, EqualScalesCancel) {
  const RopeConfig rope = read(yarn(R"(,"mscale":0.707,"mscale_all_dim":0.707)"));
  EXPECT_EQ(rope.params.attention_factor, 1);
  EXPECT_NEAR(rope.softmax_factor, 1.5896262, 1e-6);
}

TEST(RopeConfig, NoScalesGiveTheGenericFactor) {
  for (const char* scales : {"", R"(,"mscale":0,"mscale_all_dim":0)",
                             R"(,"mscale":null,"mscale_all_dim":null,"beta_fast":null,)"
                             R"("beta_slow":null,"truncate":null,"attention_factor":null)"}) {
    const RopeConfig rope = read(yarn(scales));
    EXPECT_NEAR(rope.params.attention_factor, kG1, 1e-12);
    EXPECT_EQ(rope.softmax_factor, 1);
    EXPECT_EQ(rope.params.beta_fast, 32);
    EXPECT_EQ(rope.params.beta_slow, 1);
  }
}

TEST(RopeConfig, AGivenAttentionFactorWins) {
  const RopeConfig rope =
      read(yarn(R"(,"attention_factor":0.5,"mscale":1.0,"mscale_all_dim":0.707)"));
  EXPECT_EQ(rope.params.attention_factor, 0.5);
}

TEST(RopeConfig, AFactorOfOneScalesNothing) {
  const RopeConfig rope =
      read(R"("rope_scaling":{"rope_type":"yarn","factor":1,"mscale_all_dim":1,)"
           R"("original_max_position_embeddings":4096})");
  EXPECT_EQ(rope.params.attention_factor, 1);
  EXPECT_EQ(rope.softmax_factor, 1);
}

TEST(RopeConfig, DefaultHasManySpellings) {
  for (const char* fields :
       {R"("rope_theta":50000)", R"("rope_theta":5e4,"rope_scaling":null)",
        R"("rope_theta":5e4,"rope_scaling":{"type":"default"})",
        R"("rope_parameters":{"rope_type":"default","rope_theta":50000.0})",
        R"("rope_parameters":{"rope_theta":50000.0})",
        R"("rope_parameters":{"rope_theta":50000.0},"rope_theta":50000,"rope_scaling":null)"}) {
    const RopeConfig rope = read(fields);
    EXPECT_EQ(rope.params.theta, 50000);
    EXPECT_EQ(rope.params.factor, 0);
    EXPECT_EQ(rope.params.attention_factor, 1);
    EXPECT_EQ(rope.softmax_factor, 1);
  }
  EXPECT_EQ(read("").params.theta, 10000);
}

}  // namespace
}  // namespace conclave
