// Which requests the engine takes: every refusal is immediate, has the promised code and words,
// leaves nothing behind and is never heard by the observer; a request that is taken ends.
// request_check_test.cc has the limits one by one.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/attention/tiny_engine.h"

namespace conclave {
namespace {

using testing::HasSubstr;

class EngineSubmitTest : public testing::Test {
 protected:
  // 20 pages of 8: 160 tokens, less than the model's context of 256.
  Listener listener_;  // outlives the engine
  TinyEngine engine_{{.num_pages = 20, .max_requests = 4}};

  void expect_refused(const Request& request, absl::StatusCode code, const std::string& word) {
    const int32_t before = engine_->num_requests();
    const absl::Status status = engine_->submit(request);
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(word));
    EXPECT_EQ(engine_->num_requests(), before);
  }

  void expect_silence() const {
    EXPECT_TRUE(listener_.ids.empty());
    EXPECT_FALSE(listener_.finish);
  }
};

TEST_F(EngineSubmitTest, RefusesWhatNoNodeCouldRun) {
  const auto invalid = absl::StatusCode::kInvalidArgument;
  const Request good = greedy_request(1, some_ids(5, 1), 4, &listener_);
  const int32_t vocab = engine_.config().vocab_size;

  Request bad = good;
  bad.prompt.clear();
  expect_refused(bad, invalid, "prompt is empty");
  for (const int32_t id : {-1, vocab, 1 << 30}) {
    bad = good;
    bad.prompt[3] = id;
    expect_refused(bad, invalid, "prompt[3]");
    bad = good;
    bad.forced = {id};
    expect_refused(bad, invalid, "forced[0]");
    bad = good;
    bad.sampling.stop_ids = {id};
    expect_refused(bad, invalid, "stop_ids");
    bad = good;
    bad.sampling.logit_bias = {{id, 1.f}};
    expect_refused(bad, invalid, "logit_bias");
  }
  bad = good;
  bad.sampling.top_p = 0.f;
  expect_refused(bad, invalid, "top_p");
  bad = good;
  bad.prompt = some_ids(256, 1);
  expect_refused(bad, invalid, "context is 256");

  EXPECT_FALSE(engine_->step());
  expect_silence();
}

TEST_F(EngineSubmitTest, RefusesWhatTheCacheCannotHold) {
  const auto exhausted = absl::StatusCode::kResourceExhausted;
  expect_refused(greedy_request(1, some_ids(150, 1), 12, &listener_), exhausted, "161 ids");
  expect_refused(greedy_request(1, some_ids(1, 1), 1 << 30, &listener_), exhausted, "255 ids");
  expect_silence();
  ASSERT_TRUE(engine_->submit(greedy_request(1, some_ids(150, 1), 11, &listener_)).ok());
  engine_.run_to_end();
  EXPECT_EQ(listener_.ids.size(), 11u);
}

TEST_F(EngineSubmitTest, RefusesAnIdThatIsHere) {
  ASSERT_TRUE(engine_->submit(greedy_request(7, some_ids(5, 1), 4, &listener_)).ok());
  Listener second;
  const Request again = greedy_request(7, some_ids(3, 2), 4, &second);
  expect_refused(again, absl::StatusCode::kAlreadyExists, "request 7");
  engine_->step();
  expect_refused(again, absl::StatusCode::kAlreadyExists, "request 7");
  engine_.run_to_end();
  EXPECT_EQ(listener_.ids.size(), 4u);
  EXPECT_FALSE(second.finish);
  ASSERT_TRUE(engine_->submit(again).ok()) << "the id is free again";
  engine_.run_to_end();
  EXPECT_EQ(second.ids.size(), 4u);
}

TEST_F(EngineSubmitTest, RefusesOverTheLimitOfRequests) {
  Listener listeners[4];
  for (uint64_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(engine_->submit(greedy_request(i, some_ids(5, 1), 4, &listeners[i])).ok());
  }
  const Request fifth = greedy_request(9, some_ids(5, 1), 4, &listener_);
  expect_refused(fifth, absl::StatusCode::kResourceExhausted, "4 requests");
  EXPECT_TRUE(engine_->cancel(RequestId{2}));
  EXPECT_TRUE(engine_->submit(fifth).ok()) << "there is room again";
  engine_.run_to_end();
  EXPECT_EQ(listener_.ids, listeners[0].ids);
}

TEST_F(EngineSubmitTest, AnEngineThatGoesTellsThoseInside) {
  Listener waiting;
  {
    TinyEngine engine({.max_running = 1});
    ASSERT_TRUE(engine->submit(greedy_request(1, some_ids(30, 1), 9, &listener_)).ok());
    ASSERT_TRUE(engine->submit(greedy_request(2, some_ids(30, 1), 9, &waiting)).ok());
    engine->step();
  }
  ASSERT_TRUE(listener_.finish && waiting.finish);
  EXPECT_EQ(listener_.finish->reason, FinishReason::kCancelled);
  EXPECT_EQ(waiting.finish->reason, FinishReason::kCancelled);
}

TEST_F(EngineSubmitTest, SomebodyListens) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // the engine has a second thread
  EXPECT_DEATH(static_cast<void>(engine_->submit(greedy_request(1, {1}, 1, nullptr))), "observer");
}

}  // namespace
}  // namespace conclave
