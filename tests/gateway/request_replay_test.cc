// What the client must not notice: nodes that die, leave, restart, are full or fail again and
// again. Its stream goes on with the next id, and nothing is said twice. What it must notice:
// statuses that are about its request, and nodes that send what cannot be.

#include <gmock/gmock.h>

#include "tests/gateway/table_test.h"

namespace conclave {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using RequestReplayTest = TableTest;

TEST_F(RequestReplayTest, ABrokenRunGoesOnElsewhere) {
  nodes({node_info(0), node_info(1)});
  FakeSink* const sink = submit(ask("r", 4));
  EXPECT_EQ(last_node(), ServerId{0});
  say({5, 6});
  const RunHandle broken = link_.last;
  break_run(broken);
  EXPECT_EQ(last_node(), ServerId{1});
  EXPECT_THAT(asked().generated, ElementsAre(5, 6));
  EXPECT_THAT(asked().prompt, ElementsAre(5, 6, 7));
  say(broken, {99});  // its last words come late
  say({7, 8});
  end(RunEnd::kLength);
  EXPECT_THAT(sink->ids, ElementsAre(5, 6, 7, 8));
  EXPECT_TRUE(sink->finish);
  EXPECT_EQ(table_->counters().num_replays, 1);
  EXPECT_EQ(table_->counters().num_replayed_tokens, 5);
  EXPECT_EQ(table_->counters().num_runs, 2);
}

TEST_F(RequestReplayTest, ANodeThatLeftTakesNothingAlong) {
  nodes({node_info(0)});
  FakeSink* const sink = submit(ask("r", 4));
  say({5});
  nodes({});
  EXPECT_THAT(link_.runs, IsEmpty());
  EXPECT_EQ(table_->num_queued(), 1);
  EXPECT_FALSE(sink->ended());
  nodes({node_info(3)});
  EXPECT_EQ(last_node(), ServerId{3});
  EXPECT_THAT(asked().generated, ElementsAre(5));
}

TEST_F(RequestReplayTest, ARestartedNodeIsAnotherNode) {
  nodes({node_info(0)});
  submit(ask("r", 4));
  say({5});
  nodes({node_info(0, 4, /*incarnation=*/2)});
  EXPECT_EQ(link_.num_cancelled, 1);
  EXPECT_THAT(asked().generated, ElementsAre(5));
  EXPECT_EQ(table_->num_assigned(), 1);
}

TEST_F(RequestReplayTest, WhatGrpcSaysOfBrokenLinesIsALoss) {
  nodes({node_info(0), node_info(1), node_info(2)});
  FakeSink* const sink = submit(ask("r", 4));
  break_run(link_.last, absl::CancelledError("the node's server shut down"));
  EXPECT_EQ(last_node(), ServerId{1});
  say({5});
  break_run(link_.last, absl::UnknownError("Stream removed"));
  EXPECT_FALSE(sink->ended());
  EXPECT_EQ(last_node(), ServerId{2});
}

TEST_F(RequestReplayTest, AReplayedRequestIsBeforeYoungerOnes) {
  nodes({node_info(0, 1)});
  submit(ask("old"));
  submit(ask("young"));
  nodes({});
  nodes({node_info(1, 1)});
  EXPECT_EQ(asked().id, "old");
}

TEST_F(RequestReplayTest, OnlyTheEndWasLost) {
  nodes({node_info(0)});
  GatewayRequest request = ask("a", 2);
  FakeSink* const full = submit(request);
  say({5, 6});
  break_run(link_.last);
  EXPECT_EQ(full->finish->reason, AnswerEnd::kLength);

  request = ask("b");
  request.sampling.stop_ids = {1};
  FakeSink* const stopped = submit(request);
  advance(absl::Seconds(1));
  say({5, 1});
  nodes({});
  EXPECT_EQ(stopped->finish->reason, AnswerEnd::kStopId);

  request = ask("c", 200);
  request.prompt.assign(98, 5);
  FakeSink* const context = submit(request);
  nodes({node_info(1)});
  say({5, 6});
  break_run(link_.last);
  EXPECT_EQ(context->finish->reason, AnswerEnd::kLength);
  EXPECT_EQ(table_->counters().num_replays, 0);
}

TEST_F(RequestReplayTest, AFullNodeIsTriedLater) {
  nodes({node_info(0)});
  FakeSink* const sink = submit(ask("r"));
  break_run(link_.last, absl::ResourceExhaustedError("queue"));
  EXPECT_EQ(table_->num_queued(), 1);
  EXPECT_EQ(table_->tick(), clock_.now() + absl::Milliseconds(250));
  nodes({node_info(0)});  // nothing has changed there
  EXPECT_EQ(table_->num_queued(), 1);
  NodeInfo changed = node_info(0);
  changed.load.num_running = 1;
  nodes({changed});
  EXPECT_EQ(table_->num_assigned(), 1);
  break_run(link_.last, absl::ResourceExhaustedError("queue"));
  advance(absl::Milliseconds(250));
  EXPECT_EQ(table_->num_assigned(), 1);
  EXPECT_FALSE(sink->ended());
  EXPECT_EQ(table_->counters().num_turned_away, 2);
  EXPECT_EQ(table_->counters().num_replays, 0);
}

TEST_F(RequestReplayTest, FailingAgainAndAgainSlowsDown) {
  nodes({node_info(0)});
  submit(ask("r"));
  for (int32_t i = 0; i < 1000; ++i) {
    if (table_->num_assigned() == 1) break_run(link_.last);
    const absl::Time next = table_->tick();
    ASSERT_GT(next, clock_.now());
    clock_.set(next);
    table_->tick();
    if (clock_.now() > absl::UnixEpoch() + absl::Hours(1) + absl::Seconds(20)) break;
  }
  EXPECT_GE(link_.num_started, 5);
  EXPECT_LE(link_.num_started, 20);
  say({5});
  const int32_t before = link_.num_started;
  break_run(link_.last);
  advance(absl::Milliseconds(50));  // an id came: it starts from the shortest wait again
  EXPECT_EQ(link_.num_started, before + 1);
}

TEST_F(RequestReplayTest, OneRequestThatBreaksRunsDoesNotSpinOnHealthyNodes) {
  nodes({node_info(0), node_info(1), node_info(2)});
  submit(ask("poison"));
  const RunHandle first = link_.last;
  submit(ask("fine", 1000));
  const RunHandle fine = link_.last;
  RunHandle poison = first;
  int32_t num_breaks = 0;
  for (int32_t ms = 0; ms < 2000; ++ms) {
    advance(absl::Milliseconds(1));
    if (link_.last != fine) poison = link_.last;
    if (link_.runs.count(poison) > 0) {
      break_run(poison);
      ++num_breaks;
    }
    if (ms % 30 == 0 && link_.runs.count(fine) > 0) say(fine, {5});
  }
  EXPECT_LE(num_breaks, 10);
}

TEST_F(RequestReplayTest, OtherStatusesAreTheRequests) {
  nodes({node_info(0)});
  FakeSink* const sink = submit(ask("r"));
  break_run(link_.last, absl::InternalError("not finite: layer 3"));
  EXPECT_EQ(sink->code(), absl::StatusCode::kInternal);
  EXPECT_THAT(sink->message(), HasSubstr("layer 3"));
  EXPECT_EQ(table_->counters().num_failed, 1);
}

TEST_F(RequestReplayTest, TextGoesOnWhereItWas) {
  nodes({node_info(0)});
  const std::vector<int32_t> ids = encode_all(*tokenizer_, "é ü 永 not to be");
  GatewayRequest request = ask("r", 90);
  request.stops = {"to be"};
  FakeSink* const sink = submit(request);
  for (const int32_t id : ids) {
    ASSERT_FALSE(sink->ended());
    say({id});
    if (!sink->ended()) {
      break_run(link_.last);
      advance(absl::Seconds(3));
    }
  }
  EXPECT_EQ(sink->text, "é ü 永 not ");
  EXPECT_EQ(sink->finish->stop_string, "to be");
}

TEST_F(RequestReplayTest, PromptLogprobsAreSaidOnce) {
  nodes({node_info(0)});
  GatewayRequest request = ask("r", 4);
  request.sampling.num_logprobs = 0;
  request.sampling.prompt_logprobs = true;
  FakeSink* const sink = submit(request);
  table_->on_tokens(link_.last, {.prompt_logprobs = {logprobs_of(6), logprobs_of(7)}});
  break_run(link_.last);
  advance(absl::Seconds(1));
  EXPECT_FALSE(asked().sampling.prompt_logprobs);
  table_->on_tokens(link_.last, {.ids = {5}, .logprobs = {logprobs_of(5)}});
  EXPECT_EQ(sink->prompt_logprobs.size(), 2);
  EXPECT_EQ(sink->logprobs.size(), 1);
}

TEST_F(RequestReplayTest, GivenIdsAreGivenAgain) {
  nodes({node_info(0)});
  GatewayRequest request = ask("r", 6);
  request.forced = {10, 11, 12};
  FakeSink* const sink = submit(request);
  say({10, 11});
  break_run(link_.last);
  advance(absl::Seconds(1));
  EXPECT_THAT(asked().forced, ElementsAre(10, 11, 12));
  EXPECT_THAT(asked().generated, IsEmpty());
  say({10});
  say({11, 12, 13});
  break_run(link_.last);
  advance(absl::Seconds(1));
  EXPECT_THAT(asked().forced, IsEmpty());
  EXPECT_THAT(asked().generated, ElementsAre(10, 11, 12, 13));
  say({14, 15});
  end(RunEnd::kLength);
  EXPECT_THAT(sink->ids, ElementsAre(10, 11, 12, 13, 14, 15));
}

TEST_F(RequestReplayTest, ScoresAreGatheredOverRuns) {
  nodes({node_info(0)});
  GatewayRequest request = ask("r");
  request.sampling.num_logprobs = 0;
  request.sampling.prompt_logprobs = true;
  request.wants_text = false;
  request.score_only = true;
  request.forced = {1, 9};
  request.sampling.stop_ids = {1};  // a given id ends nothing
  FakeSink* const sink = submit(request);
  EXPECT_TRUE(asked().score_only);
  table_->on_tokens(link_.last, {.ids = {1},
                                 .logprobs = {logprobs_of(1)},
                                 .prompt_logprobs = {logprobs_of(6), logprobs_of(7)}});
  break_run(link_.last);
  advance(absl::Seconds(1));
  table_->on_tokens(link_.last, {.ids = {1, 9}, .logprobs = {logprobs_of(1), logprobs_of(9)}});
  end(RunEnd::kLength);
  ASSERT_TRUE(sink->finish);
  EXPECT_THAT(sink->ids, ElementsAre(1, 9));
  EXPECT_EQ(sink->logprobs.size(), 2);
  EXPECT_EQ(sink->prompt_logprobs.size(), 2);
  EXPECT_EQ(sink->text, "");
}

TEST_F(RequestReplayTest, WhatNoSoundNodeSendsFailsTheRequest) {
  nodes({node_info(0, 100)});
  int32_t number = 0;
  const auto expect_internal = [&](const GatewayRequest& asked_for, const RunBatch& batch) {
    GatewayRequest request = asked_for;
    request.id = std::to_string(number++);
    FakeSink* const sink = submit(request);
    const int32_t num_cancelled = link_.num_cancelled;
    table_->on_tokens(link_.last, batch);
    EXPECT_EQ(sink->code(), absl::StatusCode::kInternal) << number;
    EXPECT_THAT(sink->ids, IsEmpty());
    EXPECT_EQ(link_.num_cancelled, num_cancelled + 1);
  };
  GatewayRequest request = ask("", 2);
  expect_internal(request, {.ids = {5, 6, 7}});
  expect_internal(request, {.ids = {kVocab}});
  expect_internal(request, {.ids = {-1}});
  request.sampling.num_logprobs = 0;
  expect_internal(request, {.ids = {5}});
  request.sampling.prompt_logprobs = true;
  expect_internal(request, {.ids = {5}, .logprobs = {logprobs_of(5)}});
  expect_internal(request, {.prompt_logprobs = {logprobs_of(5)}});
  EXPECT_EQ(table_->num_assigned(), 0);
}

TEST_F(RequestReplayTest, AnEndBeforeTheEndFailsTheRequest) {
  nodes({node_info(0)});
  FakeSink* const sink = submit(ask("r", 4));
  say({5});
  end(RunEnd::kLength);
  EXPECT_EQ(sink->code(), absl::StatusCode::kInternal);
  EXPECT_THAT(sink->message(), HasSubstr("after 1 ids of 4"));
}

}  // namespace
}  // namespace conclave
