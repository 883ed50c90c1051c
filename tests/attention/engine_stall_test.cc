// What the engine must keep while experts are missing:
//   - a request whose rows meet UNAVAILABLE waits, says nothing, and is not run until the engine is
//     told to try again; then it goes on with the bits of a run without trouble;
//   - the others of the step go on; a step that had no answer at all stalls everybody in it;
//   - a stalled request can be cancelled and failed, and gives its pages back;
//   - a request's first fault decides: what follows from it cannot turn waiting into failure.

#include <gtest/gtest.h>

#include "tests/attention/tiny_engine.h"

namespace conclave {
namespace {

const absl::Status kMissing = absl::UnavailableError("no server holds expert 3 of layer 1");

class EngineStallTest : public testing::Test {
 protected:
  void submit(uint64_t id, const std::vector<int32_t>& prompt, Listener* listener) {
    Request request = greedy_request(id, prompt, kNumTokens, listener);
    request.sampling.num_logprobs = 2;
    request.sampling.prompt_logprobs = true;
    ASSERT_TRUE(engine_->submit(std::move(request)).ok());
  }

  // As it is said when nothing is missing.
  static void expect_untroubled(const std::vector<int32_t>& prompt, const Listener& listener) {
    TinyEngine engine({});
    Listener calm;
    Request request = greedy_request(0, prompt, kNumTokens, &calm);
    request.sampling.num_logprobs = 2;
    request.sampling.prompt_logprobs = true;
    ASSERT_TRUE(engine->submit(std::move(request)).ok());
    engine.run_to_end();
    EXPECT_EQ(listener.ids, calm.ids);
    ASSERT_EQ(listener.logprobs.size(), calm.logprobs.size());
    for (size_t i = 0; i < calm.logprobs.size(); ++i) {
      EXPECT_EQ(listener.logprobs[i].chosen.logprob, calm.logprobs[i].chosen.logprob);
    }
    ASSERT_EQ(listener.prompt_logprobs.size(), 1u);
    ASSERT_EQ(listener.prompt_logprobs[0].size(), calm.prompt_logprobs[0].size());
  }

  static constexpr int32_t kNumTokens = 9;
  TinyEngine engine_{{.num_pages = 16, .step_tokens = 16, .prefill_chunk = 12}};
};

TEST_F(EngineStallTest, WaitsAndGoesOnWithTheSameBits) {
  const std::vector<int32_t> prompt = some_ids(30, 1);
  Listener listener;
  submit(1, prompt, &listener);
  // Trouble before the first chunk, in the middle of the prompt and at every third token.
  for (int i = 0; engine_->num_requests() > 0; ++i) {
    ASSERT_LT(i, 200);
    const size_t said = listener.ids.size();
    if (i % 3 == 0) engine_.moe().fault = RowFault{0, kMissing};
    ASSERT_TRUE(engine_->step());
    engine_.moe().fault.reset();
    if (i % 3 != 0) continue;
    EXPECT_EQ(listener.ids.size(), said) << "something was said of a step without result";
    EXPECT_EQ(engine_->num_stalled(), 1);
    EXPECT_FALSE(engine_->step()) << "a stalled request was run";
    engine_->retry_stalled();
  }
  EXPECT_EQ(listener.finish->reason, FinishReason::kLength);
  EXPECT_GT(engine_->num_stalls(), 3);
  EXPECT_EQ(engine_->last_stall(), kMissing);
  expect_untroubled(prompt, listener);
}

TEST_F(EngineStallTest, OthersGoOn) {
  Listener first;
  Listener second;
  submit(1, some_ids(5, 1), &first);
  submit(2, some_ids(6, 2), &second);
  engine_.moe().fault = RowFault{2, kMissing};  // a token of the first
  ASSERT_TRUE(engine_->step());
  engine_.moe().fault.reset();
  EXPECT_TRUE(first.ids.empty());
  EXPECT_EQ(second.ids.size(), 1u);
  while (engine_->step()) {
  }
  EXPECT_TRUE(second.finish.has_value());
  EXPECT_FALSE(first.finish.has_value());
  expect_untroubled(some_ids(6, 2), second);
  engine_->retry_stalled();
  engine_.run_to_end();
  expect_untroubled(some_ids(5, 1), first);
}

TEST_F(EngineStallTest, AStepWithoutAnswerStallsAll) {
  Listener first;
  Listener second;
  submit(1, some_ids(5, 1), &first);
  submit(2, some_ids(6, 2), &second);
  engine_.moe().finish_status = absl::UnavailableError("the gateway is away");
  ASSERT_TRUE(engine_->step());
  engine_.moe().finish_status = absl::OkStatus();
  EXPECT_EQ(engine_->num_stalled(), 2);
  engine_->retry_stalled();
  engine_.run_to_end();
  expect_untroubled(some_ids(5, 1), first);
  expect_untroubled(some_ids(6, 2), second);
}

TEST_F(EngineStallTest, CanBeCancelledAndFailed) {
  Listener first;
  Listener second;
  submit(1, some_ids(5, 1), &first);
  submit(2, some_ids(6, 2), &second);
  engine_.moe().begin_status = kMissing;
  ASSERT_TRUE(engine_->step());
  EXPECT_TRUE(engine_->cancel(RequestId{1}));
  EXPECT_EQ(first.finish->reason, FinishReason::kCancelled);
  EXPECT_TRUE(engine_->fail(RequestId{2}, absl::DeadlineExceededError("too late")));
  EXPECT_EQ(second.finish->reason, FinishReason::kError);
  EXPECT_TRUE(absl::IsDeadlineExceeded(second.finish->status));
  EXPECT_FALSE(engine_->fail(RequestId{2}, absl::DeadlineExceededError("too late")));
  engine_.run_to_end();
}

TEST_F(EngineStallTest, TheFirstFaultDecides) {
  Listener listener;
  submit(1, some_ids(5, 1), &listener);
  engine_.moe().fault_of = [](int32_t layer_idx) -> std::optional<RowFault> {
    if (layer_idx == 1) return RowFault{1, kMissing};
    return RowFault{3, absl::InternalError("not finite, for what came before was missing")};
  };
  ASSERT_TRUE(engine_->step());
  engine_.moe().fault_of = nullptr;
  EXPECT_FALSE(listener.finish.has_value());
  engine_->retry_stalled();
  engine_.run_to_end();
  expect_untroubled(some_ids(5, 1), listener);
}

// A stalled request may be the one that has to give its pages to another.
TEST_F(EngineStallTest, APreemptedOneIsStalledNoLonger) {
  TinyEngine engine({.num_pages = 5, .step_tokens = 16, .prefill_chunk = 8});
  Listener first;
  Listener second;
  ASSERT_TRUE(engine->submit(greedy_request(1, some_ids(14, 1), 20, &first)).ok());
  ASSERT_TRUE(engine->submit(greedy_request(2, some_ids(6, 2), 9, &second)).ok());
  while (second.ids.size() < 2) ASSERT_TRUE(engine->step());
  engine.moe().fault = RowFault{1, kMissing};  // the second's token
  ASSERT_TRUE(engine->step());
  engine.moe().fault.reset();
  ASSERT_EQ(engine->num_stalled(), 1);
  for (int i = 0; engine->num_preemptions() == 0; ++i) {
    ASSERT_LT(i, 100);
    ASSERT_TRUE(engine->step());
  }
  EXPECT_EQ(engine->num_stalled(), 0);
  engine.run_to_end();
  EXPECT_EQ(first.ids, greedy_ids(some_ids(14, 1), 20));
  EXPECT_EQ(second.ids, greedy_ids(some_ids(6, 2), 9));
}

}  // namespace
}  // namespace conclave
