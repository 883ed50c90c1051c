// What clients' messages mean: every field gets to where it belongs, defaults are the model's, and
// what is accepted passes check_client_request().

#include "services/gateway/inference_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/golden.h"

namespace conclave {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class InferenceCodecTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    bard_ = new ModelFolder(*read_model_folder(golden_dir("bard")));
    idsonly_ = new ModelFolder(*read_model_folder(golden_dir("moonlight")));
  }
  static void TearDownTestSuite() {
    delete bard_;
    delete idsonly_;
  }

  static ServedModel bard() { return {.folder = bard_, .name = "bard", .max_text_bytes = 1000}; }
  static ServedModel ids_only() { return {.folder = idsonly_, .name = "moonlight"}; }

  inline static ModelFolder* bard_ = nullptr;
  inline static ModelFolder* idsonly_ = nullptr;
};

TEST_F(InferenceCodecTest, EveryFieldOfGenerateArrives) {
  v1::GenerateRequest message;
  message.set_model("bard");
  message.set_request_id("mine");
  message.set_text("To be");
  message.mutable_sampling()->set_temperature(0.5f);
  message.mutable_sampling()->set_max_tokens(9);
  message.add_stop("x");
  message.add_stop("yz");
  message.set_priority(-3);
  const auto request = to_request(message, bard(), /*fresh_seed=*/77);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->id, "mine");
  EXPECT_EQ(request->prompt, *tokenize("To be", bard()));
  EXPECT_EQ(request->sampling.temperature, 0.5f);
  EXPECT_EQ(request->sampling.max_tokens, 9);
  EXPECT_EQ(request->sampling.seed, 77u);
  EXPECT_EQ(request->sampling.stop_ids, bard_->generation.end_ids);
  EXPECT_THAT(request->stops, ElementsAre("x", "yz"));
  EXPECT_TRUE(request->wants_text);
  EXPECT_EQ(request->priority, -3);
  EXPECT_TRUE(request->forced.empty());
  EXPECT_FALSE(request->score_only);
}

TEST_F(InferenceCodecTest, AScoreIsCutIntoPromptAndForcedIds) {
  v1::ScoreRequest message;
  for (const int32_t id : {4, 5, 6}) message.mutable_ids()->add_ids(id);
  message.set_num_logprobs(2);
  auto request = to_request(message, ids_only());
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_THAT(request->prompt, ElementsAre(4, 5, 6));
  EXPECT_EQ(request->sampling.num_logprobs, 2);
  EXPECT_TRUE(request->sampling.prompt_logprobs);
  EXPECT_TRUE(request->score_only);
  EXPECT_FALSE(request->wants_text);
  message.set_num_prompt_ids(1);
  request = to_request(message, ids_only());
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_THAT(request->prompt, ElementsAre(4));
  EXPECT_THAT(request->forced, ElementsAre(5, 6));
}

TEST_F(InferenceCodecTest, WhatIsWrongIsNamed) {
  v1::GenerateRequest generate;
  generate.set_text("a");
  EXPECT_EQ(to_request(generate, ids_only(), 1).status().code(),
            absl::StatusCode::kFailedPrecondition);
  generate.set_text(std::string(1001, 'a'));
  EXPECT_THAT(to_request(generate, bard(), 1).status().ToString(),
              HasSubstr("INVALID_ARGUMENT: text has 1001 bytes, the limit is 1000"));
  generate.set_model("moonlight");
  EXPECT_EQ(to_request(generate, bard(), 1).status().code(), absl::StatusCode::kNotFound);
  v1::ScoreRequest score;
  EXPECT_THAT(to_request(score, bard()).status().ToString(), HasSubstr("neither text nor ids"));
  score.mutable_ids()->add_ids(7);
  score.set_num_prompt_ids(2);
  EXPECT_THAT(to_request(score, bard()).status().ToString(), HasSubstr("num_prompt_ids is 2"));
  score.set_num_prompt_ids(-1);
  EXPECT_THAT(to_request(score, bard()).status().ToString(), HasSubstr("num_prompt_ids is -1"));
  score.set_num_prompt_ids(0);
  score.set_num_logprobs(-1);
  EXPECT_THAT(to_request(score, bard()).status().ToString(), HasSubstr("num_logprobs is -1"));
}

TEST_F(InferenceCodecTest, TextComesBackFromItsIds) {
  const auto ids = tokenize("What light through yonder", bard());
  ASSERT_TRUE(ids.ok());
  EXPECT_EQ(*detokenize(*ids, /*skip_special=*/true, bard()), "What light through yonder");
  EXPECT_THAT(detokenize({1, 2048}, true, bard()).status().ToString(),
              HasSubstr("id 2048 at ids[1]"));
  EXPECT_EQ(detokenize({1}, true, ids_only()).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

// A slow client gets in one message what a fast one gets in several.
TEST_F(InferenceCodecTest, MergedDeltasLoseNothing) {
  v1::GenerateResponse whole;
  to_proto({.text = "To be", .ids = {1, 2}, .logprobs = {{.chosen = {1, -0.5f}}, {}}},
           whole.mutable_delta());
  for (const char* const text : {" or", "", " not"}) {
    v1::GenerateResponse next;
    to_proto({.text = text, .ids = {3}, .logprobs = {{.chosen = {3, -1.f}}}}, next.mutable_delta());
    ASSERT_TRUE(merge_deltas(&whole, &next));
  }
  EXPECT_EQ(whole.delta().text(), "To be or not");
  EXPECT_THAT(whole.delta().ids(), ElementsAre(1, 2, 3, 3, 3));
  ASSERT_EQ(whole.delta().logprobs_size(), 5);
  EXPECT_EQ(whole.delta().logprobs(0).chosen().logprob(), -0.5f);

  v1::GenerateResponse finished;
  finished.mutable_finished();
  EXPECT_FALSE(merge_deltas(&whole, &finished));
  EXPECT_FALSE(merge_deltas(&finished, &whole));
}

TEST_F(InferenceCodecTest, AnswersSayWhatTheyAre) {
  v1::GenerateDelta delta;
  to_proto(AnswerDelta{.text = "hi",
                       .ids = {1, 2},
                       .logprobs = {{.chosen = {.id = 1, .logprob = -0.5f}}},
                       .prompt_logprobs = {{.chosen = {.id = 9, .logprob = -1.f}}}},
           &delta);
  EXPECT_EQ(delta.text(), "hi");
  EXPECT_THAT(delta.ids(), ElementsAre(1, 2));
  EXPECT_EQ(delta.logprobs(0).chosen().logprob(), -0.5f);
  EXPECT_EQ(delta.prompt_logprobs(0).chosen().id(), 9);
  const std::pair<AnswerEnd, v1::GenerateFinished::Reason> reasons[] = {
      {AnswerEnd::kStopId, v1::GenerateFinished::REASON_STOP_ID},
      {AnswerEnd::kStopString, v1::GenerateFinished::REASON_STOP_STRING},
      {AnswerEnd::kLength, v1::GenerateFinished::REASON_LENGTH}};
  for (const auto& [end, reason] : reasons) {
    v1::GenerateFinished finished;
    to_proto(AnswerFinish{.reason = end, .stop_string = "s", .num_generated = 3}, &finished);
    EXPECT_EQ(finished.reason(), reason);
    EXPECT_EQ(finished.stop_string(), "s");
    EXPECT_EQ(finished.num_generated_tokens(), 3);
  }
}

}  // namespace
}  // namespace conclave
