// What the engine tells the sampler of a request's past:
//   - penalties see every id of the prompt and every generated one, drawn or forced, as often as it
//     was said;
//   - a draw depends on the seed and the place in the sequence, so a request that goes on
//     elsewhere, its ids so far given along, goes on with the same ids (contract C3);
//   - a preempted request forgets none of this.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "tests/attention/tiny_engine.h"

namespace conclave {
namespace {

using Ids = std::vector<int32_t>;

constexpr int32_t kNum = 20;
constexpr int32_t kNumIds = 5;

// The definition in docs/sampling.md, for one row of logits.
int32_t best_after_penalties(const SamplingParams& params, const Ids& prompt, const Ids& generated,
                             std::vector<float> row) {
  std::map<int32_t, int32_t> seen;
  std::map<int32_t, int32_t> count;
  for (const int32_t id : prompt) ++seen[id];
  for (const int32_t id : generated) ++count[id];
  for (const auto& [id, times] : count) seen[id] += times;
  for (const auto& [id, times] : seen) {
    row[id] =
        row[id] > 0 ? row[id] / params.repetition_penalty : row[id] * params.repetition_penalty;
  }
  for (const auto& [id, times] : count) {
    row[id] -= params.frequency_penalty * static_cast<float>(times);
    row[id] -= params.presence_penalty;
  }
  return static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

// Run with five ids to choose from, so that they are soon said again and again.
Request penalised_request(uint64_t id, Listener* listener) {
  Request request = greedy_request(id, {1, 1, 3}, kNum, listener);
  request.sampling.repetition_penalty = 1.3f;
  request.sampling.frequency_penalty = 0.11f;
  request.sampling.presence_penalty = 0.2f;
  request.wants_logits = true;
  return request;
}

void expect_penalised(const Request& request, const Listener& said, int32_t num_forced) {
  ASSERT_EQ(said.ids.size(), static_cast<size_t>(kNum));
  const size_t vocab = said.logits.size() / said.positions.size();
  for (int32_t i = num_forced; i < kNum; ++i) {
    const size_t position = request.prompt.size() - 1 + static_cast<size_t>(i);
    const auto row = said.logits.begin() + static_cast<std::ptrdiff_t>(position * vocab);
    const Ids generated(said.ids.begin(), said.ids.begin() + i);
    EXPECT_EQ(said.ids[i], best_after_penalties(request.sampling, request.prompt, generated,
                                                {row, row + kNumIds}))
        << "id " << i;
  }
}

TEST(EngineDraw, PenaltiesSeePromptAndGeneratedIds) {
  TinyEngine engine({.num_ids = kNumIds});
  Listener listener;
  Request request = penalised_request(1, &listener);
  ASSERT_TRUE(engine->submit(request).ok());
  engine.run_to_end();
  expect_penalised(request, listener, 0);

  Listener unpenalised;
  ASSERT_TRUE(engine->submit(greedy_request(2, request.prompt, kNum, &unpenalised)).ok());
  engine.run_to_end();
  EXPECT_NE(unpenalised.ids, listener.ids) << "the penalties were meant to matter";
}

TEST(EngineDraw, PenaltiesSeeForcedIds) {
  TinyEngine engine({.num_ids = kNumIds});
  Listener listener;
  Request request = penalised_request(1, &listener);
  request.forced = {2, 2, 2, 4};
  ASSERT_TRUE(engine->submit(request).ok());
  engine.run_to_end();
  expect_penalised(request, listener, 4);
}

TEST(EngineDraw, PreemptedRequestsCountOnce) {
  TinyEngine engine({.num_pages = 4, .num_ids = kNumIds});
  Listener listeners[3];
  for (uint64_t i = 0; i < 3; ++i) {
    Request request = penalised_request(i, &listeners[i]);
    request.prompt = {static_cast<int32_t>(i), 1, 3};
    ASSERT_TRUE(engine->submit(request).ok());
  }
  engine.run_to_end();
  EXPECT_GT(engine->num_preemptions(), 0);
  for (uint64_t i = 0; i < 3; ++i) {
    Request request = penalised_request(i, nullptr);
    request.prompt = {static_cast<int32_t>(i), 1, 3};
    expect_penalised(request, listeners[i], 0);
  }
}

Request drawn_request(const Ids& prompt, int32_t max_tokens, Listener* listener) {
  Request request = greedy_request(1, prompt, max_tokens, listener);
  request.sampling.temperature = 1.f;
  request.sampling.seed = 77;
  return request;
}

Ids run(Request request, Listener* listener) {
  TinyEngine engine({});
  *listener = Listener();
  request.observer = listener;
  CHECK(engine->submit(request).ok());
  engine.run_to_end();
  return listener->ids;
}

TEST(EngineDraw, ARequestThatGoesOnElsewhereDrawsTheSame) {
  const Ids prompt = some_ids(9, 5);
  Listener listener;
  const Ids whole = run(drawn_request(prompt, kNum, nullptr), &listener);
  for (const int32_t num_said : {1, 7, kNum - 1}) {
    const Ids said(whole.begin(), whole.begin() + num_said);
    Request forced = drawn_request(prompt, kNum, nullptr);
    forced.forced = said;
    EXPECT_EQ(run(forced, &listener), whole) << num_said << " forced";

    Ids longer = prompt;
    longer.insert(longer.end(), said.begin(), said.end());
    EXPECT_EQ(run(drawn_request(longer, kNum - num_said, nullptr), &listener),
              Ids(whole.begin() + num_said, whole.end()))
        << num_said << " in the prompt";
  }
}

TEST(EngineDraw, SeedsDiffer) {
  Listener listener;
  Request request = drawn_request(some_ids(9, 5), kNum, nullptr);
  const Ids first = run(request, &listener);
  EXPECT_EQ(run(request, &listener), first);
  request.sampling.seed = 78;
  EXPECT_NE(run(request, &listener), first);
}

// What a node does with a request whose first node died: penalties, counts and limits included.
TEST(EngineDraw, GeneratedIdsLeaveNoTrace) {
  const Ids prompt = some_ids(9, 5);
  Request request = drawn_request(prompt, kNum, nullptr);
  request.sampling.repetition_penalty = 1.3f;
  request.sampling.frequency_penalty = 0.2f;
  request.sampling.presence_penalty = 0.3f;
  request.sampling.min_tokens = 12;
  request.sampling.num_logprobs = 2;
  request.sampling.prompt_logprobs = true;
  Listener whole;
  run(request, &whole);
  for (int32_t num_said = 1; num_said < static_cast<int32_t>(whole.ids.size()); ++num_said) {
    request.generated.assign(whole.ids.begin(), whole.ids.begin() + num_said);
    Listener rest;
    EXPECT_EQ(run(request, &rest), Ids(whole.ids.begin() + num_said, whole.ids.end()));
    EXPECT_TRUE(rest.prompt_logprobs.empty()) << "said before";
    for (size_t i = 0; i < rest.logprobs.size(); ++i) {
      EXPECT_EQ(rest.logprobs[i].chosen.logprob,
                whole.logprobs[i + static_cast<size_t>(num_said)].chosen.logprob);
    }
  }
}

}  // namespace
}  // namespace conclave
