// One request's way through the table where nothing breaks: said as it comes, ended once, refused
// in time; stop strings and stop ids; queue order; cancelling; deadlines and what they say.

#include "gateway/request_table.h"

#include <gmock/gmock.h>

#include "tests/gateway/table_test.h"

namespace conclave {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

using RequestTableTest = TableTest;

TEST_F(RequestTableTest, AnAnswerIsSaidAsItComes) {
  nodes({node_info(0)});
  FakeSink* const sink = submit(ask("r", 4));
  EXPECT_TRUE(sink->started);
  EXPECT_EQ(asked().id, "r");
  EXPECT_THAT(asked().prompt, ElementsAre(5, 6, 7));
  EXPECT_THAT(asked().generated, IsEmpty());
  const std::vector<int32_t> ids = encode_all(*tokenizer_, "To be, or not");
  ASSERT_GE(ids.size(), 4);
  say({ids[0]});
  EXPECT_EQ(sink->text, tokenizer_->decode(std::span(ids).first(1), true));
  say({ids[1], ids[2]});
  say({});
  say({ids[3]});
  EXPECT_FALSE(sink->ended());
  end(RunEnd::kLength);
  ASSERT_TRUE(sink->finish);
  EXPECT_EQ(sink->finish->reason, AnswerEnd::kLength);
  EXPECT_EQ(sink->finish->num_generated, 4);
  EXPECT_EQ(sink->text, tokenizer_->decode(std::span(ids).first(4), true));
  EXPECT_EQ(table_->counters().num_length, 1);
  EXPECT_EQ(table_->num_assigned(), 0);
}

TEST_F(RequestTableTest, AStopIdIsSaidAndHasNoText) {
  nodes({node_info(0)});
  GatewayRequest request = ask("r");
  request.sampling.stop_ids = {1};
  FakeSink* const sink = submit(request);
  const std::vector<int32_t> ids = encode_all(*tokenizer_, "Ay");
  say(ids);
  say({1});
  end(RunEnd::kStopId);
  EXPECT_EQ(sink->finish->reason, AnswerEnd::kStopId);
  EXPECT_EQ(sink->text, "Ay");
  EXPECT_EQ(sink->ids.back(), 1);
  EXPECT_EQ(sink->finish->num_generated, static_cast<int32_t>(ids.size()) + 1);
}

TEST_F(RequestTableTest, AStopStringCutsAndCancels) {
  nodes({node_info(0)});
  GatewayRequest request = ask("r", 50);
  request.stops = {"zzz", "not", "nothing"};
  FakeSink* const sink = submit(request);
  const RunHandle run = link_.last;
  std::vector<int32_t> ids = encode_all(*tokenizer_, "or not to be");
  say(ids);
  ASSERT_TRUE(sink->finish);
  EXPECT_EQ(sink->finish->reason, AnswerEnd::kStopString);
  EXPECT_EQ(sink->finish->stop_string, "not");
  EXPECT_EQ(sink->text, "or ");
  EXPECT_EQ(sink->finish->num_generated, static_cast<int32_t>(sink->ids.size()));
  EXPECT_LT(sink->ids.size(), ids.size());
  EXPECT_EQ(link_.num_cancelled, 1);
  say(run, {9});  // still under way when the run was cancelled
  table_->on_run_finished(run, RunEnd::kLength);
  table_->on_run_failed(run, absl::InternalError("late"));
  EXPECT_EQ(table_->counters().num_stop_string, 1);
  EXPECT_EQ(table_->counters().num_ended(), 1);
}

TEST_F(RequestTableTest, HeldBackTextComesAtTheEnd) {
  nodes({node_info(0)});
  const std::vector<int32_t> ids = encode_all(*tokenizer_, "or not");
  GatewayRequest request = ask("r", static_cast<int32_t>(ids.size()));
  request.stops = {"not to be"};
  FakeSink* const sink = submit(request);
  say(ids);
  EXPECT_EQ(sink->text, "or ");
  end(RunEnd::kLength);
  EXPECT_EQ(sink->text, "or not");
  EXPECT_EQ(sink->finish->reason, AnswerEnd::kLength);
}

TEST_F(RequestTableTest, IdsAloneNeedNoTokenizer) {
  RequestTable table({.clock = &clock_, .link = &link_},
                     {.model = {.vocab_size = kVocab, .max_positions = 100}});
  table.nodes_changed({node_info(0)});
  GatewayRequest request = ask("r", 1);
  request.wants_text = false;
  FakeSink sink;
  ASSERT_TRUE(table.submit(request, &sink).ok());
  table.on_tokens(link_.last, {.ids = {42}});
  table.on_run_finished(link_.last, RunEnd::kLength);
  EXPECT_THAT(sink.ids, ElementsAre(42));
  EXPECT_EQ(sink.text, "");
}

TEST_F(RequestTableTest, TheQueueGoesByPriorityThenArrival) {
  FakeSink* const low = submit(ask("low"));
  GatewayRequest urgent = ask("urgent");
  urgent.priority = 5;
  submit(urgent);
  submit(ask("later"));
  EXPECT_EQ(table_->num_queued(), 3);
  EXPECT_TRUE(low->started);  // though it waits
  nodes({node_info(0, /*max_requests=*/1)});
  EXPECT_EQ(asked().id, "urgent");
  EXPECT_TRUE(table_->cancel("urgent"));
  EXPECT_EQ(asked().id, "low");
  EXPECT_TRUE(table_->cancel("low"));
  EXPECT_EQ(asked().id, "later");
}

TEST_F(RequestTableTest, RequestsSpreadOverNodes) {
  nodes({node_info(0), node_info(1)});
  submit(ask("a"));
  EXPECT_EQ(last_node(), ServerId{0});
  submit(ask("b"));
  EXPECT_EQ(last_node(), ServerId{1});
  NodeInfo leaving = node_info(0);
  leaving.draining = true;
  nodes({leaving, node_info(1)});
  submit(ask("c"));
  EXPECT_EQ(last_node(), ServerId{1});
  EXPECT_EQ(table_->num_assigned(), 3);  // what runs on a draining node goes on
}

TEST_F(RequestTableTest, TheQueueHasALimit) {
  for (const char* id : {"a", "b", "c"}) submit(ask(id));
  const absl::Status status = refusal(ask("d"));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no attention node is registered"));
  nodes({node_info(0)});
  submit(ask("d"));  // a node takes it at once
  EXPECT_EQ(refusal(ask("d")).code(), absl::StatusCode::kAlreadyExists);
  submit(ask("e"));
  EXPECT_EQ(table_->num_queued(), 1);
}

TEST_F(RequestTableTest, OneLongerThanEveryCacheIsRefused) {
  NodeInfo small = node_info(0);
  small.cache_tokens = 20;
  FakeSink* const waiting = submit(ask("w", 90));  // when nobody knows yet
  nodes({small});
  EXPECT_EQ(waiting->code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(refusal(ask("r", 19)).code(), absl::StatusCode::kResourceExhausted);
  submit(ask("s", 18));
}

TEST_F(RequestTableTest, CancelEndsQueuedAndRunning) {
  nodes({node_info(0, 1)});
  FakeSink* const running = submit(ask("running"));
  FakeSink* const queued = submit(ask("queued"));
  EXPECT_TRUE(table_->cancel("queued"));
  EXPECT_TRUE(table_->cancel("running"));
  EXPECT_FALSE(table_->cancel("running"));
  EXPECT_EQ(running->code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(queued->code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(link_.num_cancelled, 1);
  EXPECT_EQ(table_->counters().num_cancelled, 2);
}

TEST_F(RequestTableTest, AClientThatIsGoneHearsNothing) {
  nodes({node_info(0)});
  FakeSink* const sink = submit(ask("r"));
  table_->client_gone("r", nullptr);  // somebody else's
  EXPECT_EQ(table_->num_assigned(), 1);
  table_->client_gone("r", sink);
  EXPECT_THAT(link_.runs, IsEmpty());
  FakeSink* const next = submit(ask("r"));
  table_->client_gone("r", sink);
  EXPECT_EQ(table_->num_assigned(), 1);
  EXPECT_FALSE(sink->ended());
  EXPECT_FALSE(next->ended());
  EXPECT_EQ(table_->counters().num_client_gone, 1);
}

TEST_F(RequestTableTest, DeadlinesSayWhatWasWaitedFor) {
  GatewayRequest request = ask("r");
  request.deadline = clock_.now() + absl::Milliseconds(1500);
  FakeSink* const queued = submit(request);
  EXPECT_EQ(table_->tick(), request.deadline);
  advance(absl::Milliseconds(1499));
  EXPECT_FALSE(queued->ended());
  advance(absl::Milliseconds(1));
  EXPECT_EQ(queued->code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(queued->message(),
            "the deadline passed after 1.5s and 0 generated ids: no attention node is registered");
  EXPECT_EQ(refusal(request).code(), absl::StatusCode::kDeadlineExceeded);

  nodes({node_info(0, 1)});
  request.deadline = clock_.now() + absl::Seconds(1);
  FakeSink* const running = submit(request);
  say({5, 6});
  GatewayRequest second = ask("second");
  second.deadline = request.deadline;
  FakeSink* const behind = submit(second);
  table_->set_cluster_problem("no server holds layer 4: expert 7");
  advance(absl::Seconds(1));
  EXPECT_THAT(running->message(), HasSubstr("2 generated ids: no server holds layer 4: expert 7"));
  EXPECT_EQ(behind->code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(link_.runs, IsEmpty());
  EXPECT_EQ(table_->tick(), absl::InfiniteFuture());
  EXPECT_EQ(table_->counters().num_deadline, 3);
}

TEST_F(RequestTableTest, ANodeMayBeTheFirstToSeeTheDeadline) {
  nodes({node_info(0)});
  GatewayRequest request = ask("r");
  request.deadline = clock_.now() + absl::Seconds(1);
  FakeSink* const sink = submit(request);
  clock_.advance(absl::Milliseconds(999));
  break_run(link_.last, absl::DeadlineExceededError("node"));
  EXPECT_EQ(sink->code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(table_->counters().num_deadline, 1);
}

TEST_F(RequestTableTest, StoppingRefusesThenEnds) {
  nodes({node_info(0, 1)});
  FakeSink* const running = submit(ask("running"));
  FakeSink* const queued = submit(ask("queued"));
  table_->stop_accepting();
  EXPECT_EQ(refusal(ask("new")).code(), absl::StatusCode::kUnavailable);
  say({5});
  EXPECT_EQ(running->ids.size(), 1);
  table_->fail_all(absl::UnavailableError("the gateway is stopping"));
  EXPECT_EQ(running->code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(queued->code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(link_.runs, IsEmpty());
  EXPECT_EQ(table_->num_queued() + table_->num_assigned(), 0);
}

TEST_F(RequestTableTest, TimesAreTold) {
  submit(ask("r", 6));
  clock_.advance(absl::Milliseconds(30));
  nodes({node_info(0)});
  clock_.advance(absl::Milliseconds(10));
  say({5});
  clock_.advance(absl::Milliseconds(7));
  say({5, 6});
  say({7});
  EXPECT_THAT(times_.waits, ElementsAre(absl::Milliseconds(40)));
  EXPECT_THAT(times_.gaps, ElementsAre(Pair(absl::Milliseconds(7), 2), Pair(absl::Duration(), 1)));
  EXPECT_EQ(table_->counters().num_tokens, 4);
  EXPECT_EQ(table_->counters().num_prompt_tokens, 3);
}

}  // namespace
}  // namespace conclave
