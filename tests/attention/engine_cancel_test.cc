// Cancelling, whenever it happens:
//   - a request that is cancelled ends with kCancelled and says nothing afterwards;
//   - nobody else notices: the others say the ids that they say alone;
//   - cancel() is true exactly once a request, and not for one that has ended;
//   - it may be called inside any observer, of the request itself or of another one;
//   - pages go home.

#include <gtest/gtest.h>

#include <set>

#include "tests/attention/tiny_engine.h"

namespace conclave {
namespace {

constexpr int32_t kMaxTokens = 10;

class EngineCancelTest : public testing::Test {
 protected:
  static constexpr int kNum = 4;

  EngineCancelTest() {
    for (uint64_t i = 0; i < kNum; ++i) submit(i, &listeners_[i]);
  }

  static std::vector<int32_t> prompt_of(uint64_t id) {
    return some_ids(5 + 3 * static_cast<int32_t>(id), static_cast<uint32_t>(id));
  }

  void submit(uint64_t id, Listener* listener) {
    ASSERT_TRUE(engine_->submit(greedy_request(id, prompt_of(id), kMaxTokens, listener)).ok());
  }

  bool cancel(uint64_t id) { return engine_->cancel(RequestId{id}); }

  bool is_cancelled(int i) const {
    return listeners_[i].finish && listeners_[i].finish->reason == FinishReason::kCancelled;
  }

  // Runs on; the cancelled are as given and the others have said all.
  void expect_cancelled(const std::set<int>& cancelled) {
    engine_.run_to_end();
    for (int i = 0; i < kNum; ++i) {
      ASSERT_TRUE(listeners_[i].finish) << "request " << i;
      EXPECT_EQ(is_cancelled(i), cancelled.contains(i)) << "request " << i;
      EXPECT_TRUE(listeners_[i].finish->status.ok());
      EXPECT_FALSE(cancel(static_cast<uint64_t>(i))) << "it has ended";
      if (cancelled.contains(i)) continue;
      EXPECT_EQ(listeners_[i].ids, greedy_ids(prompt_of(static_cast<uint64_t>(i)), kMaxTokens));
    }
  }

  Listener listeners_[kNum];  // outlives the engine
  TinyEngine engine_{{.max_running = 3}};
};

TEST_F(EngineCancelTest, NobodyIsNotCancelled) {
  EXPECT_FALSE(cancel(99));
  expect_cancelled({});
}

TEST_F(EngineCancelTest, BeforeTheFirstStep) {
  EXPECT_TRUE(cancel(1));
  EXPECT_TRUE(is_cancelled(1)) << "heard at once";
  EXPECT_FALSE(cancel(1));
  expect_cancelled({1});
  EXPECT_TRUE(listeners_[1].ids.empty());
}

TEST_F(EngineCancelTest, WhileItRuns) {
  for (int i = 0; i < 4; ++i) engine_->step();
  const size_t num_said = listeners_[0].ids.size();
  EXPECT_GT(num_said, 0u);
  EXPECT_TRUE(cancel(0));
  expect_cancelled({0});
  EXPECT_EQ(listeners_[0].ids.size(), num_said);
}

TEST_F(EngineCancelTest, WhileItWaits) {
  engine_->step();
  EXPECT_TRUE(listeners_[3].ids.empty());  // three run
  EXPECT_TRUE(cancel(3));
  expect_cancelled({3});
}

TEST_F(EngineCancelTest, WhileItsPromptIsComputed) {
  TinyEngine engine({.prefill_chunk = 4});
  Listener listener;
  ASSERT_TRUE(engine->submit(greedy_request(1, some_ids(20, 1), 5, &listener)).ok());
  engine->step();
  engine->step();
  EXPECT_TRUE(engine->cancel(RequestId{1}));
  EXPECT_TRUE(listener.finish);
  engine.run_to_end();
}

TEST_F(EngineCancelTest, TheIdIsFreeAgain) {
  engine_->step();
  EXPECT_TRUE(cancel(1));
  Listener again;
  submit(1, &again);
  expect_cancelled({1});
  EXPECT_EQ(again.ids.size(), static_cast<size_t>(kMaxTokens));
}

TEST_F(EngineCancelTest, ItselfInOnToken) {
  listeners_[1].when_token = [this] {
    if (listeners_[1].ids.size() == 3) {
      EXPECT_TRUE(cancel(1));
    }
    EXPECT_FALSE(listeners_[1].finish) << "the end is heard after the step";
  };
  expect_cancelled({1});
  EXPECT_EQ(listeners_[1].ids.size(), 3u);
}

// The first reason stands: it was cancelled before its last token was its last.
TEST_F(EngineCancelTest, ItselfInTheLastOnToken) {
  listeners_[2].when_token = [this] {
    if (listeners_[2].ids.size() == kMaxTokens) {
      EXPECT_TRUE(cancel(2));
    }
    if (listeners_[2].ids.size() == kMaxTokens) {
      EXPECT_FALSE(cancel(2)) << "a second time";
    }
  };
  expect_cancelled({2});
}

// 0 speaks first in a step. Whoever it cancels says nothing more, in this step already.
TEST_F(EngineCancelTest, OthersInOnToken) {
  listeners_[0].when_token = [this] {
    if (listeners_[0].ids.size() != 4) return;
    EXPECT_TRUE(cancel(1));
    EXPECT_TRUE(cancel(3));  // waits
    listeners_[1].when_token = [] { FAIL() << "a token after it was cancelled"; };
  };
  expect_cancelled({1, 3});
  EXPECT_EQ(listeners_[1].ids.size(), 3u);
}

// 2 speaks last: what 0 has said in this step is said, and it ends all the same.
TEST_F(EngineCancelTest, SomebodyWhoHasSpokenInThisStep) {
  listeners_[2].when_token = [this] {
    if (listeners_[2].ids.size() == 2) {
      EXPECT_TRUE(cancel(0));
    }
  };
  expect_cancelled({0});
  EXPECT_EQ(listeners_[0].ids.size(), 2u);
}

TEST_F(EngineCancelTest, InOnFinished) {
  listeners_[0].when_finished = [this] {
    EXPECT_FALSE(cancel(0)) << "its own end";
    EXPECT_TRUE(cancel(3));
  };
  listeners_[3].when_finished = [this] { EXPECT_FALSE(cancel(3)); };
  expect_cancelled({3});
}

// Each end cancels the next.
TEST_F(EngineCancelTest, AChainOfEnds) {
  for (uint64_t i = 0; i + 1 < kNum; ++i) {
    listeners_[i].when_finished = [this, i] { EXPECT_TRUE(cancel(i + 1)); };
  }
  EXPECT_TRUE(cancel(0));
  EXPECT_EQ(engine_->num_requests(), 0);
  EXPECT_FALSE(engine_->step());
  expect_cancelled({0, 1, 2, 3});
}

// Everybody is over in the step in which everybody is cancelled.
TEST_F(EngineCancelTest, EverybodyInOneToken) {
  listeners_[0].when_token = [this] {
    for (uint64_t i = 0; i < kNum; ++i) EXPECT_TRUE(cancel(i));
  };
  EXPECT_TRUE(engine_->step());
  EXPECT_EQ(engine_->num_requests(), 0);
  expect_cancelled({0, 1, 2, 3});
}

TEST_F(EngineCancelTest, InOnLogitsAndOnPromptLogprobs) {
  Listener rows;
  Listener prompt;
  Request first = greedy_request(11, some_ids(20, 1), 5, &rows);
  Request second = greedy_request(12, some_ids(20, 2), 5, &prompt);
  first.wants_logits = true;
  first.sampling.num_logprobs = second.sampling.num_logprobs = 2;
  first.sampling.prompt_logprobs = second.sampling.prompt_logprobs = true;
  rows.when_logits = [&] {
    if (rows.positions.size() == 6) {
      EXPECT_TRUE(cancel(11));
    }
  };
  prompt.when_prompt = [&] { EXPECT_TRUE(cancel(12)); };
  ASSERT_TRUE(engine_->submit(first).ok());
  ASSERT_TRUE(engine_->submit(second).ok());
  expect_cancelled({});
  EXPECT_EQ(rows.positions.size(), 6u);
  EXPECT_TRUE(rows.prompt_logprobs.empty());
  EXPECT_EQ(prompt.prompt_logprobs.size(), 1u);
  EXPECT_TRUE(prompt.ids.empty());
}

}  // namespace
}  // namespace conclave
