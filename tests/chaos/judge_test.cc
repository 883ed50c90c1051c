// What a chaos run makes of an answer, so that nothing passes for what it is not:
//   - the same bits, text and end are the same, and nothing else is;
//   - a beginning with an OK is cut short, more than all is doubled, the rest is changed;
//   - of a stream that its client left, any true beginning is good.

#include <gtest/gtest.h>

#include <cmath>

#include "tests/chaos/request_mix.h"

namespace conclave {
namespace {

Generated expected_answer() {
  Generated answer;
  answer.answer.ids = {5, 6, 7};
  for (const int32_t id : answer.answer.ids) {
    answer.answer.logprobs.push_back({.chosen = {id, -0.5f}, .best = {{id, -0.5f}, {9, -2.f}}});
  }
  answer.answer.finish = Finish{};
  answer.text = "To be";
  answer.finished.set_reason(v1::GenerateFinished::REASON_LENGTH);
  answer.finished.set_num_generated_tokens(3);
  return answer;
}

Verdict verdict_of(const Generated& said) { return judge(said, expected_answer()).verdict; }

TEST(JudgeTest, KnowsTheSame) { EXPECT_EQ(verdict_of(expected_answer()), Verdict::kSame); }

TEST(JudgeTest, KnowsAnAbortedOne) {
  Generated said = expected_answer();
  said.status = grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
  EXPECT_EQ(verdict_of(said), Verdict::kAborted);
}

TEST(JudgeTest, KnowsOneThatIsCutShort) {
  Generated said = expected_answer();
  said.answer.ids.pop_back();
  said.answer.logprobs.pop_back();
  said.text = "To";
  EXPECT_EQ(verdict_of(said), Verdict::kCutShort);
  said.answer.ids.clear();
  said.answer.logprobs.clear();
  EXPECT_EQ(verdict_of(said), Verdict::kCutShort);
}

TEST(JudgeTest, KnowsADoubledId) {
  Generated said = expected_answer();
  said.answer.ids.push_back(7);
  said.answer.logprobs.push_back(said.answer.logprobs.back());
  EXPECT_EQ(verdict_of(said), Verdict::kDoubled);
  said = expected_answer();
  said.text += " or";
  EXPECT_EQ(verdict_of(said), Verdict::kDoubled);
}

TEST(JudgeTest, KnowsEveryChange) {
  Generated said = expected_answer();
  said.answer.ids[1] = 8;
  EXPECT_EQ(verdict_of(said), Verdict::kChanged);
  said = expected_answer();
  float* const logprob = &said.answer.logprobs[2].best[1].logprob;
  *logprob = std::nextafter(*logprob, 0.f);
  EXPECT_EQ(verdict_of(said), Verdict::kChanged);
  said = expected_answer();
  said.text = "To bE";
  EXPECT_EQ(verdict_of(said), Verdict::kChanged);
  said = expected_answer();
  said.finished.set_reason(v1::GenerateFinished::REASON_STOP_STRING);
  EXPECT_EQ(verdict_of(said), Verdict::kChanged);
  said = expected_answer();
  said.finished.set_num_generated_tokens(4);
  EXPECT_EQ(verdict_of(said), Verdict::kChanged);
}

TEST(JudgeTest, TakesOnlyTrueBeginningsOfALeftStream) {
  Generated said = expected_answer();
  said.answer.ids.pop_back();
  said.answer.logprobs.pop_back();
  said.text = "To";
  EXPECT_EQ(judge_beginning(said, expected_answer()).verdict, Verdict::kSame);
  said.answer.ids.back() = 8;
  EXPECT_EQ(judge_beginning(said, expected_answer()).verdict, Verdict::kChanged);
}

}  // namespace
}  // namespace conclave
