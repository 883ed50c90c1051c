// What is said although pages run out and requests are computed more than once:
//   - ids, logits and logprobs have the bits of the request run alone in an ample cache;
//   - every row of logits is said exactly once, in order of positions;
//   - prompt logprobs are said once, one entry for every prompt id but the first;
//   - a random crowd with cancellations ends, and all pages are home.

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <numeric>
#include <random>

#include "tests/attention/tiny_engine.h"

namespace conclave {
namespace {

Request full_request(uint64_t id, Listener* listener) {
  const int32_t num_prompt = 3 + static_cast<int32_t>(id) * 4 % 19;
  Request request =
      greedy_request(id, some_ids(num_prompt, static_cast<uint32_t>(id)), 20, listener);
  request.priority = static_cast<int32_t>(id % 3);
  request.wants_logits = true;
  request.sampling.num_logprobs = 2;
  request.sampling.prompt_logprobs = true;
  if (id % 2 == 1) {
    request.sampling.temperature = 0.9f;
    request.sampling.seed = id;
  }
  if (id % 4 == 2) request.forced = some_ids(6, 50);
  return request;
}

// Everything about one request, against the same request run alone.
void expect_same(const Listener& said, const Listener& alone, uint64_t id) {
  EXPECT_EQ(said.ids, alone.ids) << "request " << id;
  EXPECT_EQ(said.positions, alone.positions) << "request " << id;
  ASSERT_EQ(said.logits.size(), alone.logits.size());
  EXPECT_EQ(
      std::memcmp(said.logits.data(), alone.logits.data(), said.logits.size() * sizeof(float)), 0)
      << "request " << id;
  ASSERT_EQ(said.prompt_logprobs.size(), 1u);
  ASSERT_EQ(said.prompt_logprobs[0].size(), alone.prompt_logprobs[0].size());
  for (size_t i = 0; i < said.prompt_logprobs[0].size(); ++i) {
    EXPECT_EQ(said.prompt_logprobs[0][i].chosen.id, alone.prompt_logprobs[0][i].chosen.id);
    EXPECT_EQ(said.prompt_logprobs[0][i].chosen.logprob,
              alone.prompt_logprobs[0][i].chosen.logprob);
  }
}

struct Case {
  int32_t num_pages;
  int32_t step_tokens;
  int32_t prefill_chunk;
  int32_t max_logit_rows;
};

class EnginePreemptionTest : public testing::TestWithParam<Case> {
 protected:
  TinyEngine engine_{{.num_pages = GetParam().num_pages,
                      .step_tokens = GetParam().step_tokens,
                      .prefill_chunk = GetParam().prefill_chunk,
                      .max_logit_rows = GetParam().max_logit_rows}};
};

TEST_P(EnginePreemptionTest, EverythingIsSaidOnceWithTheSameBits) {
  constexpr uint64_t kNum = 9;
  Listener listeners[kNum];
  for (uint64_t id = 0; id < kNum; ++id) {
    ASSERT_TRUE(engine_->submit(full_request(id, &listeners[id])).ok());
  }
  engine_.run_to_end();
  EXPECT_GT(engine_->num_preemptions(), 3) << "the cache was meant to be too small";
  for (uint64_t id = 0; id < kNum; ++id) {
    const Request request = full_request(id, nullptr);
    const size_t num_prompt = request.prompt.size();
    ASSERT_TRUE(listeners[id].finish);
    EXPECT_EQ(listeners[id].ids.size(), 20u);
    EXPECT_EQ(listeners[id].logprobs.size(), 20u);
    std::vector<int32_t> all(num_prompt + 20 - 1);
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(listeners[id].positions, all);
    EXPECT_EQ(listeners[id].prompt_logprobs[0].size(), num_prompt - 1);

    TinyEngine ample({});
    Listener alone;
    ASSERT_TRUE(ample->submit(full_request(id, &alone)).ok());
    ample.run_to_end();
    EXPECT_EQ(ample->num_preemptions(), 0);
    expect_same(listeners[id], alone, id);
  }
}

// Requests come and go at random; whoever is not cancelled says what it says alone.
TEST_P(EnginePreemptionTest, ACrowdEnds) {
  std::mt19937 rng(4);
  std::vector<std::unique_ptr<Listener>> listeners;
  for (int i = 0; i < 150; ++i) {
    if (listeners.size() < 40 && rng() % 3 == 0) {
      const uint64_t id = listeners.size();
      listeners.push_back(std::make_unique<Listener>());
      const Request request =
          greedy_request(id, some_ids(1 + static_cast<int32_t>(rng() % 20), 8),
                         1 + static_cast<int32_t>(rng() % 20), listeners.back().get());
      ASSERT_TRUE(engine_->submit(request).ok());
    }
    if (!listeners.empty() && rng() % 8 == 0) {
      engine_->cancel(RequestId{rng() % listeners.size()});
    }
    engine_->step();
  }
  engine_.run_to_end();
  for (const auto& listener : listeners) {
    ASSERT_TRUE(listener->finish);
    EXPECT_TRUE(listener->finish->status.ok());
  }
}

INSTANTIATE_TEST_SUITE_P(Caches, EnginePreemptionTest,
                         testing::Values(Case{6, 64, 64, 32}, Case{6, 16, 5, 3}, Case{10, 8, 8, 1},
                                         Case{11, 64, 7, 64}));

TEST(EnginePromptLogprobs, AreSaidOnceAlsoForOneId) {
  for (const bool score_only : {false, true}) {
    TinyEngine engine({.prefill_chunk = 3, .max_logit_rows = 2});
    for (const int32_t num_prompt : {1, 2, 3, 33}) {
      Listener listener;
      Request request = greedy_request(1, some_ids(num_prompt, 1), 2, &listener);
      request.sampling.num_logprobs = 3;
      request.sampling.prompt_logprobs = true;
      request.score_only = score_only;
      ASSERT_TRUE(engine->submit(request).ok());
      engine.run_to_end();
      ASSERT_EQ(listener.prompt_logprobs.size(), 1u);
      ASSERT_EQ(static_cast<int32_t>(listener.prompt_logprobs[0].size()), num_prompt - 1);
      for (int32_t i = 0; i + 1 < num_prompt; ++i) {
        EXPECT_EQ(listener.prompt_logprobs[0][i].chosen.id, request.prompt[i + 1]);
        EXPECT_EQ(listener.prompt_logprobs[0][i].best.size(), 3u);
      }
      EXPECT_EQ(listener.ids.size(), score_only ? 0u : 2u);
    }
  }
}

TEST(EnginePromptLogprobs, AreNotSaidUnasked) {
  TinyEngine engine({});
  Listener listener;
  ASSERT_TRUE(engine->submit(greedy_request(1, some_ids(9, 1), 3, &listener)).ok());
  engine.run_to_end();
  EXPECT_TRUE(listener.prompt_logprobs.empty());
  EXPECT_TRUE(listener.positions.empty());
  EXPECT_TRUE(listener.logprobs.empty());
}

}  // namespace
}  // namespace conclave
