// When and how a request ends:
//   - with a stop id, which is its last token, but not before min_tokens and never by a forced id;
//   - at max_tokens or when the context is full;
//   - score_only requests when all given ids are computed, and nothing is drawn;
//   - forced ids are said like drawn ones and lead to the ids that follow them anyway;
//   - with an error of its own, that spares the other requests of the step.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/attention/tiny_engine.h"

namespace conclave {
namespace {

using testing::HasSubstr;
using Ids = std::vector<int32_t>;

class EngineFinishTest : public testing::Test {
 protected:
  static constexpr int32_t kLong = 24;

  // Runs it alone and expects the reason.
  void run(const Request& request, FinishReason reason) {
    listener_ = Listener();
    const absl::Status status = engine_->submit(request);
    ASSERT_TRUE(status.ok()) << status;
    engine_.run_to_end();
    ASSERT_TRUE(listener_.finish);
    EXPECT_EQ(listener_.finish->reason, reason);
    EXPECT_EQ(listener_.finish->status.ok(), reason != FinishReason::kError);
  }

  Request request(int32_t max_tokens) { return greedy_request(1, prompt_, max_tokens, &listener_); }

  Ids first(int32_t count) const { return {greedy_.begin(), greedy_.begin() + count}; }

  // Where the greedy text first says an id that it has not said before, after `from`.
  int32_t new_id_after(int32_t from) const {
    for (int32_t i = from; i < kLong; ++i) {
      const auto here = greedy_.begin() + i;
      if (std::find(greedy_.begin(), here, *here) == here) return i;
    }
    ADD_FAILURE() << "the model repeats itself";
    return from;
  }

  const Ids prompt_ = some_ids(13, /*seed=*/1);
  const Ids greedy_ = greedy_ids(prompt_, kLong);
  Listener listener_;  // outlives the engine
  TinyEngine engine_{{}};
};

TEST_F(EngineFinishTest, AtMaxTokens) {
  for (const int32_t max_tokens : {1, 2, 17, kLong}) {
    run(request(max_tokens), FinishReason::kLength);
    EXPECT_EQ(listener_.ids, first(max_tokens));
  }
}

TEST_F(EngineFinishTest, AtAStopIdWhichIsTheLastToken) {
  const int32_t at = new_id_after(4);
  Request stopped = request(kLong);
  stopped.sampling.stop_ids = {greedy_[at]};
  run(stopped, FinishReason::kStopId);
  EXPECT_EQ(listener_.ids, first(at + 1));

  stopped.sampling.max_tokens = at + 1;  // both at once: the stop id is the reason
  run(stopped, FinishReason::kStopId);
  stopped.sampling.max_tokens = at;
  run(stopped, FinishReason::kLength);
  EXPECT_EQ(listener_.ids, first(at));
}

TEST_F(EngineFinishTest, AStopIdInThePromptStopsNothing) {
  Request unstopped = request(5);
  unstopped.sampling.stop_ids = prompt_;
  for (const int32_t id : first(5)) std::erase(unstopped.sampling.stop_ids, id);
  run(unstopped, FinishReason::kLength);
  EXPECT_EQ(listener_.ids, first(5));
}

TEST_F(EngineFinishTest, NotBeforeMinTokens) {
  for (const int32_t min_tokens : {1, 2, 7, kLong}) {
    Request eager = request(kLong);
    eager.sampling.min_tokens = min_tokens;
    for (int32_t id = 0; id < engine_.config().vocab_size; id += 2) {
      eager.sampling.stop_ids.push_back(id);
    }
    eager.sampling.logit_bias = {{100, 100.f}};  // would be the first token, and stops
    run(eager, min_tokens == kLong ? FinishReason::kLength : FinishReason::kStopId);
    ASSERT_EQ(static_cast<int32_t>(listener_.ids.size()), std::min(min_tokens + 1, kLong));
    for (int32_t i = 0; i < min_tokens; ++i) EXPECT_EQ(listener_.ids[i] % 2, 1) << "id " << i;
  }
}

TEST_F(EngineFinishTest, AtTheEndOfTheContext) {
  const int32_t context = engine_.config().max_positions;
  for (const int32_t room : {1, 2, 9}) {
    run(greedy_request(1, some_ids(context - room, 3), 1'000, &listener_), FinishReason::kLength);
    EXPECT_EQ(static_cast<int32_t>(listener_.ids.size()), room);
  }
}

TEST_F(EngineFinishTest, ForcedIdsAreSaidAndLeadOn) {
  for (const int32_t num_forced : {1, 5, kLong - 1}) {
    Request forced = request(kLong);
    forced.forced = first(num_forced);
    run(forced, FinishReason::kLength);
    EXPECT_EQ(listener_.ids, greedy_);
  }
}

// A text that the model would not say has other ids after it, and a stop id in it stops nothing.
TEST_F(EngineFinishTest, ForcedIdsDoNotStop) {
  Request forced = request(6);
  forced.forced = {9, 9, 9};
  forced.sampling.stop_ids = {9};
  run(forced, FinishReason::kLength);
  ASSERT_EQ(listener_.ids.size(), 6u);
  EXPECT_EQ(Ids(listener_.ids.begin(), listener_.ids.begin() + 3), (Ids{9, 9, 9}));

  Ids longer = prompt_;
  longer.insert(longer.end(), 3, 9);
  EXPECT_EQ(Ids(listener_.ids.begin() + 3, listener_.ids.end()), greedy_ids(longer, 3));
}

TEST_F(EngineFinishTest, ScoreOnlyDrawsNothing) {
  Request scored = request(1);
  scored.score_only = true;
  run(scored, FinishReason::kLength);
  EXPECT_TRUE(listener_.ids.empty());

  scored.forced = first(9);  // more than max_tokens, which means nothing here
  scored.sampling.num_logprobs = 1;
  run(scored, FinishReason::kLength);
  EXPECT_EQ(listener_.ids, first(9));
  ASSERT_EQ(listener_.logprobs.size(), 9u);
  for (int32_t i = 0; i < 9; ++i) {
    EXPECT_EQ(listener_.logprobs[i].chosen.id, greedy_[i]);
    EXPECT_EQ(listener_.logprobs[i].best[0].id, greedy_[i]) << "greedy ids are the best ones";
  }
}

TEST_F(EngineFinishTest, ScoreOnlyMayFillTheContext) {
  Request scored = greedy_request(1, some_ids(250, 3), 1, &listener_);
  scored.forced = some_ids(6, 4);
  scored.score_only = scored.wants_logits = true;
  run(scored, FinishReason::kLength);
  EXPECT_EQ(listener_.positions.size(), 256u);
}

TEST_F(EngineFinishTest, IdsBeyondTheTokenizerAreNotDrawn) {
  TinyEngine narrow({.num_ids = 3});
  ASSERT_TRUE(narrow->submit(request(kLong)).ok());
  narrow.run_to_end();
  ASSERT_EQ(listener_.ids.size(), static_cast<size_t>(kLong));
  for (const int32_t id : listener_.ids) EXPECT_LT(id, 3);
}

TEST_F(EngineFinishTest, AFaultyTokenFailsItsRequestAlone) {
  Listener other;
  ASSERT_TRUE(engine_->submit(request(8)).ok());
  ASSERT_TRUE(engine_->submit(greedy_request(2, some_ids(6, 9), 8, &other)).ok());
  engine_->step();
  ASSERT_EQ(other.ids.size(), 1u);
  engine_.moe().fault = RowFault{1, absl::InternalError("expert 5 is ill")};  // request 2's token
  engine_->step();
  engine_.moe().fault.reset();
  ASSERT_TRUE(other.finish);
  EXPECT_EQ(other.finish->reason, FinishReason::kError);
  EXPECT_THAT(std::string(other.finish->status.message()), HasSubstr("expert 5 is ill"));
  EXPECT_EQ(other.ids.size(), 1u) << "nothing is said of a faulty step";
  engine_.run_to_end();
  EXPECT_EQ(listener_.ids, first(8));
}

TEST_F(EngineFinishTest, AFailedStepFailsWhoWasInItAndNoOther) {
  for (const bool at_begin : {true, false}) {
    TinyEngine engine({.max_running = 1});
    Listener running;
    Listener waiting;
    ASSERT_TRUE(engine->submit(greedy_request(1, prompt_, 8, &running)).ok());
    ASSERT_TRUE(engine->submit(greedy_request(2, prompt_, 8, &waiting)).ok());
    engine->step();
    (at_begin ? engine.moe().begin_status : engine.moe().finish_status) =
        absl::InternalError("expert 3 said nonsense");
    EXPECT_TRUE(engine->step());
    engine.moe().begin_status = engine.moe().finish_status = absl::OkStatus();
    ASSERT_TRUE(running.finish);
    EXPECT_EQ(running.finish->reason, FinishReason::kError);
    EXPECT_TRUE(absl::IsInternal(running.finish->status));
    engine.run_to_end();
    EXPECT_EQ(waiting.ids, first(8));
  }
}

}  // namespace
}  // namespace conclave
