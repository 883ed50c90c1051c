// Invariants: params come back bit for bit over the wire; what a client leaves out is the model's
// default, and what it says wins, also where it says 0.

#include "services/server/request_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace conclave {
namespace {

using testing::ElementsAre;

template <typename Message>
Message travel(const Message& message) {
  Message arrived;
  EXPECT_TRUE(arrived.ParseFromString(message.SerializeAsString()));
  return arrived;
}

SamplingParams unlike_the_defaults() {
  return {.temperature = 0.3f,
          .top_k = 17,
          .top_p = 0.9f,
          .min_p = 0.05f,
          .repetition_penalty = 1.1f,
          .presence_penalty = -0.5f,
          .frequency_penalty = 0.25f,
          .logit_bias = {{3, 1.5f}, {9, -100.f}},
          .seed = UINT64_MAX,
          .stop_ids = {1, 5},
          .min_tokens = 2,
          .max_tokens = 30,
          .num_logprobs = 4,
          .prompt_logprobs = true};
}

void expect_same(const SamplingParams& a, const SamplingParams& b) {
  EXPECT_EQ(a.temperature, b.temperature);
  EXPECT_EQ(a.top_k, b.top_k);
  EXPECT_EQ(a.top_p, b.top_p);
  EXPECT_EQ(a.min_p, b.min_p);
  EXPECT_EQ(a.repetition_penalty, b.repetition_penalty);
  EXPECT_EQ(a.presence_penalty, b.presence_penalty);
  EXPECT_EQ(a.frequency_penalty, b.frequency_penalty);
  EXPECT_EQ(a.logit_bias, b.logit_bias);
  EXPECT_EQ(a.seed, b.seed);
  EXPECT_EQ(a.stop_ids, b.stop_ids);
  EXPECT_EQ(a.min_tokens, b.min_tokens);
  EXPECT_EQ(a.max_tokens, b.max_tokens);
  EXPECT_EQ(a.num_logprobs, b.num_logprobs);
  EXPECT_EQ(a.prompt_logprobs, b.prompt_logprobs);
}

const GenerationConfig kDefaults{.end_ids = {7, 8},
                                 .do_sample = true,
                                 .temperature = 0.6f,
                                 .top_p = 0.95f,
                                 .top_k = 40,
                                 .repetition_penalty = 1.2f};

TEST(RequestCodecTest, RunSamplingComesBack) {
  for (const SamplingParams& params : {unlike_the_defaults(), SamplingParams{}}) {
    v1::RunSampling message;
    to_proto(params, &message);
    expect_same(from_proto(travel(message)), params);
  }
}

TEST(RequestCodecTest, AWishThatSaysEverythingComesBack) {
  for (const SamplingParams& params :
       {unlike_the_defaults(), SamplingParams{}, SamplingParams{.temperature = 0.f}}) {
    v1::Sampling message;
    to_proto(params, &message);
    expect_same(from_proto(travel(message), kDefaults, /*fresh_seed=*/99), params);
  }
}

TEST(RequestCodecTest, WhatIsLeftOutIsTheModels) {
  const SamplingParams params = from_proto(v1::Sampling(), kDefaults, /*fresh_seed=*/99);
  expect_same(params, {.temperature = 0.6f,
                       .top_k = 40,
                       .top_p = 0.95f,
                       .repetition_penalty = 1.2f,
                       .seed = 99,
                       .stop_ids = {7, 8}});
}

TEST(RequestCodecTest, WithoutDoSampleTheChoiceIsGreedy) {
  GenerationConfig defaults = kDefaults;
  defaults.do_sample = false;
  EXPECT_EQ(from_proto(v1::Sampling(), defaults, 1).temperature, 0.f);
  EXPECT_EQ(from_proto(v1::Sampling(), GenerationConfig(), 1).temperature, 0.f);
}

TEST(RequestCodecTest, ASaidZeroIsNoDefault) {
  v1::Sampling message;
  message.set_temperature(0);
  message.set_top_k(0);
  message.set_top_p(0);
  message.set_seed(0);
  message.set_max_tokens(0);
  message.set_num_logprobs(0);
  message.set_repetition_penalty(0);
  const SamplingParams params = from_proto(travel(message), kDefaults, 99);
  EXPECT_EQ(params.temperature, 0.f);
  EXPECT_EQ(params.top_k, 0);
  EXPECT_EQ(params.top_p, 0.f);
  EXPECT_EQ(params.seed, 0u);
  EXPECT_EQ(params.max_tokens, 0);
  EXPECT_EQ(params.num_logprobs, 0);
  EXPECT_EQ(validate(params, 100).code(), absl::StatusCode::kInvalidArgument);
}

TEST(RequestCodecTest, EndIdsFollowTheRequestsOwn) {
  v1::Sampling message;
  message.add_stop_ids(3);
  EXPECT_THAT(from_proto(message, kDefaults, 1).stop_ids, ElementsAre(3, 7, 8));
  message.set_ignore_eos(true);
  EXPECT_THAT(from_proto(message, kDefaults, 1).stop_ids, ElementsAre(3));
}

TEST(RequestCodecTest, LogprobsComeBack) {
  const float lowest = -std::numeric_limits<float>::infinity();
  const Logprobs logprobs{.chosen = {5, -0.25f}, .best = {{5, -0.25f}, {6, -1.f}, {7, lowest}}};
  google::protobuf::RepeatedPtrField<v1::TokenLogprobs> messages;
  to_proto(logprobs, messages.Add());
  to_proto(Logprobs{}, messages.Add());
  const std::vector<Logprobs> back = from_proto(messages);
  ASSERT_EQ(back.size(), 2);
  EXPECT_EQ(back[0].chosen.id, 5);
  EXPECT_EQ(back[0].chosen.logprob, -0.25f);
  ASSERT_EQ(back[0].best.size(), 3);
  EXPECT_EQ(back[0].best[1].id, 6);
  EXPECT_EQ(back[0].best[2].logprob, lowest);
  EXPECT_TRUE(back[1].best.empty());
}

}  // namespace
}  // namespace conclave
