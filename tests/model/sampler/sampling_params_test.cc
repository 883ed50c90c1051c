// What validate() must keep: the defaults and both ends of every range pass, everything outside and
// every NaN is INVALID_ARGUMENT, and the message has the field's name and its value.

#include "model/sampler/sampling_params.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>

namespace conclave {
namespace {

constexpr int32_t kVocabSize = 100;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

using Edit = std::function<void(SamplingParams*)>;

absl::Status validate_with(const Edit& edit) {
  SamplingParams params;
  edit(&params);
  return validate(params, kVocabSize);
}

struct FloatField {
  const char* name;
  float SamplingParams::*member;
  std::vector<float> good;
  std::vector<float> bad;
};

TEST(SamplingParams, DefaultsAreValid) { EXPECT_TRUE(validate({}, kVocabSize).ok()); }

TEST(SamplingParams, FloatsKeepTheirRanges) {
  const FloatField fields[] = {
      {"temperature", &SamplingParams::temperature, {0.f, 1e-30f, 100.f}, {-0.1f, 100.1f}},
      {"top_p", &SamplingParams::top_p, {1e-6f, 1.f}, {0.f, -0.5f, 1.01f}},
      {"min_p", &SamplingParams::min_p, {0.f, 1.f}, {-0.01f, 1.01f}},
      {"repetition_penalty", &SamplingParams::repetition_penalty, {0.01f, 10.f}, {0.f, 10.5f}},
      {"presence_penalty", &SamplingParams::presence_penalty, {-2.f, 2.f}, {-2.1f, 2.1f}},
      {"frequency_penalty", &SamplingParams::frequency_penalty, {-2.f, 2.f}, {-2.1f, 2.1f}},
  };
  for (const FloatField& field : fields) {
    for (const float value : field.good) {
      const absl::Status status = validate_with([&](auto* p) { p->*field.member = value; });
      EXPECT_TRUE(status.ok()) << status;
    }
    std::vector<float> bad = field.bad;
    bad.insert(bad.end(), {kNaN, kInf, -kInf});
    for (const float value : bad) {
      const absl::Status status = validate_with([&](auto* p) { p->*field.member = value; });
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field.name << " " << value;
      EXPECT_EQ(status.message().find(field.name), 0u) << status;
    }
  }
}

struct Bad {
  const char* message;  // all of it
  Edit edit;
};

TEST(SamplingParams, MessagesNameFieldValueAndRange) {
  const Bad cases[] = {
      {"temperature is -1, must be in [0, 100]", [](auto* p) { p->temperature = -1.f; }},
      {"top_p is 0, must be in (0, 1]", [](auto* p) { p->top_p = 0.f; }},
      {"min_p is nan, must be in [0, 1]", [](auto* p) { p->min_p = kNaN; }},
      {"top_k is -1, must be in [0, 2147483647]", [](auto* p) { p->top_k = -1; }},
      {"max_tokens is 0, must be in [1, 2147483647]", [](auto* p) { p->max_tokens = 0; }},
      {"min_tokens is -1, must be in [0, 128]", [](auto* p) { p->min_tokens = -1; }},
      {"min_tokens is 129, must be in [0, 128]", [](auto* p) { p->min_tokens = 129; }},
      {"num_logprobs is -2, must be in [-1, 20]", [](auto* p) { p->num_logprobs = -2; }},
      {"num_logprobs is 21, must be in [-1, 20]", [](auto* p) { p->num_logprobs = 21; }},
      {"an id of stop_ids is 100, must be in [0, 99]",
       [](auto* p) {
         p->stop_ids = {3, 100};
       }},
      {"an id of stop_ids is -1, must be in [0, 99]", [](auto* p) { p->stop_ids = {-1}; }},
      {"an id of logit_bias is 100, must be in [0, 99]",
       [](auto* p) {
         p->logit_bias = {{100, 1.f}};
       }},
      {"an id of logit_bias is -7, must be in [0, 99]",
       [](auto* p) {
         p->logit_bias = {{-7, 1.f}};
       }},
      {"logit_bias of id 5 is 101, must be in [-100, 100]",
       [](auto* p) {
         p->logit_bias = {{5, 101.f}};
       }},
      {"logit_bias of id 5 is nan, must be in [-100, 100]",
       [](auto* p) {
         p->logit_bias = {{5, kNaN}};
       }},
      {"logit_bias names id 5 twice",
       [](auto* p) {
         p->logit_bias = {{5, 1.f}, {6, 0.f}, {5, 1.f}};
       }},
      {"the number of logit_bias entries is 1025, must be in [0, 1024]",
       [](auto* p) { p->logit_bias.resize(1025); }},
      {"the number of stop_ids is 1025, must be in [0, 1024]",
       [](auto* p) { p->stop_ids.resize(1025); }},
      {"prompt_logprobs is true and num_logprobs is -1, must be at least 0",
       [](auto* p) { p->prompt_logprobs = true; }},
  };
  for (const Bad& bad : cases) {
    const absl::Status status = validate_with(bad.edit);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(std::string(status.message()), bad.message);
  }
}

TEST(SamplingParams, EndsOfRangesAreValid) {
  const absl::Status status = validate_with([](auto* p) {
    p->top_k = INT32_MAX;
    p->max_tokens = 1;
    p->min_tokens = 1;
    p->num_logprobs = kMaxLogprobs;
    p->prompt_logprobs = true;
    p->stop_ids = {0, 99, 99};
    p->logit_bias = {{0, -100.f}, {99, 100.f}};
    p->seed = UINT64_MAX;
  });
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace conclave
