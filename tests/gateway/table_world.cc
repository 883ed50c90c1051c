#include "tests/gateway/table_world.h"

#include <algorithm>

namespace conclave {
namespace {

constexpr int32_t kMaxNodes = 4;

// Texts that stop often: one character, or two.
const std::vector<std::vector<std::string>> kStops = {{}, {}, {"e"}, {"th", "a"}, {"  ", "qu"}};

}  // namespace

TableWorld::TableWorld(const Tokenizer* tokenizer, uint32_t seed)
    : tokenizer_(tokenizer),
      random_(seed),
      table_({.clock = &clock_, .link = &link_, .tokenizer = tokenizer},
             {.model = {.vocab_size = kVocab, .max_positions = kMaxPositions}, .max_queued = 6}) {}

// Given ids, then a hash of the prompt's first id and the place.
int32_t TableWorld::next_id(const GatewayRequest& request, size_t position) {
  if (position < request.forced.size()) return request.forced[position];
  const uint32_t hash = (static_cast<uint32_t>(request.prompt[0]) * 2654435761u) ^
                        (static_cast<uint32_t>(position) * 40503u * 65537u);
  const uint32_t mixed = (hash ^ (hash >> 15)) * 2246822519u;
  return static_cast<int32_t>((mixed >> 7) % kVocab);
}

// Without regard to stop strings.
std::vector<int32_t> TableWorld::whole_answer(const GatewayRequest& request) {
  std::vector<int32_t> answer;
  const size_t num_forced = request.forced.size();
  const size_t room = kMaxPositions - request.prompt.size();
  const size_t most =
      request.score_only ? num_forced : std::min<size_t>(room, request.sampling.max_tokens);
  const std::vector<int32_t>& stop_ids = request.sampling.stop_ids;
  while (answer.size() < most) {
    answer.push_back(next_id(request, answer.size()));
    const bool stops = std::find(stop_ids.begin(), stop_ids.end(), answer.back()) != stop_ids.end();
    if (stops && answer.size() > num_forced) break;
  }
  return answer;
}

void TableWorld::step() {
  const uint32_t what = roll(100);
  if (what < 12) return submit();
  if (what < 20) return change_nodes();
  if (what < 24) return drop_client();
  if (what < 40) return pass_time();
  work_on_run();
}

GatewayRequest TableWorld::random_request() {
  GatewayRequest request{.id = "r" + std::to_string(next_client_++)};
  request.prompt.resize(1 + roll(20));
  for (int32_t& id : request.prompt) id = static_cast<int32_t>(roll(kVocab));
  request.sampling.max_tokens = 1 + static_cast<int32_t>(roll(50));
  request.sampling.stop_ids = {kStopId, static_cast<int32_t>(roll(kVocab))};
  request.sampling.num_logprobs = static_cast<int32_t>(roll(2)) - 1;
  request.sampling.prompt_logprobs = request.sampling.wants_logprobs() && roll(2) == 0;
  request.stops = kStops[roll(static_cast<uint32_t>(kStops.size()))];
  request.priority = static_cast<int32_t>(roll(3));
  if (roll(4) == 0) {
    request.score_only = roll(2) == 0;
    request.forced.resize(std::min<size_t>(roll(6), request.sampling.max_tokens - 1));
    for (int32_t& id : request.forced) id = static_cast<int32_t>(roll(kVocab));
    if (request.score_only) request.stops.clear();
  }
  request.wants_text = !request.stops.empty() || roll(4) != 0;
  if (roll(3) == 0) request.deadline = clock_.now() + absl::Milliseconds(1 + roll(4000));
  return request;
}

void TableWorld::submit() {
  if (roll(20) == 0) submit_twice();
  clients_.emplace_back();
  Client* const client = &clients_.back();
  client->request = random_request();
  const bool accepted = table_.submit(client->request, &client->sink).ok();
  EXPECT_EQ(client->sink.started, accepted);
  if (accepted) {
    by_id_[client->request.id] = client;
  } else {
    clients_.pop_back();
  }
}

// Somebody else takes an id that is in use.
void TableWorld::submit_twice() {
  for (const auto& [id, client] : by_id_) {
    if (client->sink.ended() || client->wish != Wish::kNone) continue;
    FakeSink sink;
    EXPECT_EQ(table_.submit(client->request, &sink).code(), absl::StatusCode::kAlreadyExists);
    EXPECT_FALSE(sink.started);
    return table_.client_gone(id, &sink);  // no effect on the one whose id it is
  }
}

void TableWorld::change_nodes() {
  const int32_t id = static_cast<int32_t>(roll(kMaxNodes));
  const auto found = nodes_.find(id);
  if (found == nodes_.end()) {
    Node& node = nodes_[id];
    node.info = node_info(id, 1 + static_cast<int32_t>(roll(3)), next_incarnation_++);
    node.info.cache_tokens = 30 + roll(60);
    node.sick = roll(4) == 0;
  } else {
    switch (roll(4)) {
      case 0:
        nodes_.erase(found);
        break;
      case 1:
        found->second.info.incarnation = next_incarnation_++;
        break;
      case 2:
        found->second.info.draining = !found->second.info.draining;
        break;
      case 3:
        found->second.sick = !found->second.sick;
        found->second.info.load.num_running = static_cast<int32_t>(roll(3));
        break;
    }
  }
  tell_nodes();
}

void TableWorld::tell_nodes() {
  std::vector<NodeInfo> infos;
  for (const auto& [id, node] : nodes_) infos.push_back(node.info);
  table_.nodes_changed(infos);
}

void TableWorld::drop_client() {
  if (clients_.empty()) return;
  auto client = std::next(clients_.begin(), roll(static_cast<uint32_t>(clients_.size())));
  const bool over = client->sink.ended() || client->wish != Wish::kNone;
  if (roll(2) == 0) {
    EXPECT_EQ(table_.cancel(client->request.id), !over);
    if (!over) client->wish = Wish::kCancelled;
  } else {
    table_.client_gone(client->request.id, &client->sink);
    if (!over) client->wish = Wish::kGone;
  }
}

void TableWorld::pass_time() {
  clock_.advance(absl::Milliseconds(roll(200)));
  EXPECT_GT(table_.tick(), clock_.now());
}

// Some run gets on: it speaks, ends, breaks, or finds its node full.
void TableWorld::work_on_run() {
  if (link_.runs.empty()) return;
  const auto found = std::next(link_.runs.begin(), roll(static_cast<uint32_t>(link_.runs.size())));
  const RunHandle handle = found->first;
  const FakeLink::Run run = found->second;
  const bool sick = nodes_.at(static_cast<int32_t>(run.node)).sick;
  if (sick || roll(25) == 0) return break_run(handle);
  speak(handle, run, roll(5));
}

void TableWorld::break_run(RunHandle handle) {
  link_.end(handle);
  const bool untouched = num_spoken_[handle] == 0;
  if (untouched && roll(3) == 0) {
    table_.on_run_failed(handle, absl::ResourceExhaustedError("full"));
  } else {
    table_.on_run_failed(handle, absl::UnavailableError("broken"));
  }
  table_.on_tokens(handle, {.ids = {7}});  // too late
}

// The next ids of a run, and its end where it comes to it.
void TableWorld::speak(RunHandle handle, const FakeLink::Run& run, size_t num_ids) {
  const Client& client = *by_id_.at(run.request.id);
  EXPECT_TRUE(run.request.generated.empty() || run.request.forced.empty());
  const std::vector<int32_t> answer = whole_answer(client.request);
  const size_t begin = run.request.generated.size() + num_spoken_[handle];
  const size_t end = std::min(answer.size(), begin + num_ids);
  EXPECT_TRUE(
      std::equal(run.request.generated.begin(), run.request.generated.end(), answer.begin()));
  EXPECT_EQ(run.request.prompt, client.request.prompt);

  RunBatch batch{.ids = {answer.begin() + static_cast<int64_t>(begin),
                         answer.begin() + static_cast<int64_t>(end)}};
  const SamplingParams& sampling = run.request.sampling;
  if (sampling.wants_logprobs()) {
    for (const int32_t id : batch.ids) batch.logprobs.push_back(logprobs_of(id));
  }
  const bool first = num_spoken_[handle] == 0 && run.request.generated.empty();
  if (first && sampling.prompt_logprobs) {
    for (size_t i = 1; i < run.request.prompt.size(); ++i) {
      batch.prompt_logprobs.push_back(logprobs_of(run.request.prompt[i]));
    }
  }
  num_spoken_[handle] += batch.ids.size();
  table_.on_tokens(handle, std::move(batch));
  if (end < answer.size() || link_.runs.count(handle) == 0 || roll(3) == 0) return;
  link_.end(handle);
  const bool stops = !answer.empty() && answer.size() > client.request.forced.size() &&
                     std::count(sampling.stop_ids.begin(), sampling.stop_ids.end(), answer.back());
  table_.on_run_finished(handle, stops ? RunEnd::kStopId : RunEnd::kLength);
}

void TableWorld::settle() {
  nodes_.clear();
  for (int32_t id = 0; id < kMaxNodes; ++id) {
    nodes_[id].info = node_info(id, 4, next_incarnation_++);
  }
  tell_nodes();
  for (int32_t i = 0; i < 20000 && table_.num_queued() + table_.num_assigned() > 0; ++i) {
    if (i % 10 == 0) pass_time();
    if (link_.runs.empty()) continue;
    const auto found =
        std::next(link_.runs.begin(), roll(static_cast<uint32_t>(link_.runs.size())));
    const FakeLink::Run run = found->second;
    speak(found->first, run, 3);
  }
}

void TableWorld::check_empty() const {
  EXPECT_EQ(table_.num_queued(), 0);
  EXPECT_EQ(table_.num_assigned(), 0);
  EXPECT_TRUE(link_.runs.empty());
  const TableCounters& counters = table_.counters();
  EXPECT_EQ(counters.num_accepted, static_cast<int64_t>(clients_.size()));
  EXPECT_EQ(counters.num_ended(), counters.num_accepted);
}

void TableWorld::check_clients() const {
  for (const Client& client : clients_) {
    SCOPED_TRACE(client.request.id);
    check_client(client);
  }
}

void TableWorld::check_client(const Client& client) const {
  const FakeSink& sink = client.sink;
  const std::vector<int32_t> answer = whole_answer(client.request);
  ASSERT_LE(sink.ids.size(), answer.size());
  EXPECT_TRUE(std::equal(sink.ids.begin(), sink.ids.end(), answer.begin()));
  const size_t num_logprobs = client.request.sampling.wants_logprobs() ? sink.ids.size() : 0;
  ASSERT_EQ(sink.logprobs.size(), num_logprobs);
  for (size_t i = 0; i < num_logprobs; ++i) EXPECT_EQ(sink.logprobs[i].chosen.id, sink.ids[i]);

  // Text that is out is a beginning of all ids' text.
  const std::string whole = tokenizer_->decode(answer, /*skip_special=*/true);
  EXPECT_EQ(sink.text, whole.substr(0, sink.text.size()));
  switch (client.wish) {
    case Wish::kCancelled:
      EXPECT_EQ(sink.code(), absl::StatusCode::kCancelled);
      break;
    case Wish::kGone:
      EXPECT_FALSE(sink.ended());
      break;
    case Wish::kNone:
      ASSERT_TRUE(sink.ended());
      if (sink.finish) check_finished(client, answer);
      break;
  }
}

void TableWorld::check_finished(const Client& client, const std::vector<int32_t>& answer) const {
  const FakeSink& sink = client.sink;
  const GatewayRequest& request = client.request;
  EXPECT_EQ(sink.finish->num_generated, static_cast<int32_t>(sink.ids.size()));
  if (request.sampling.prompt_logprobs) {
    EXPECT_EQ(sink.prompt_logprobs.size(), request.prompt.size() - 1);
  }
  const std::string text = tokenizer_->decode(sink.ids, /*skip_special=*/true);
  size_t cut = std::string::npos;
  for (const std::string& stop : request.stops) cut = std::min(cut, text.find(stop));
  EXPECT_EQ(sink.finish->reason == AnswerEnd::kStopString, cut != std::string::npos);
  if (request.wants_text) {
    EXPECT_EQ(sink.text, text.substr(0, cut));
  } else {
    EXPECT_EQ(sink.text, "");
  }
  if (cut == std::string::npos) {
    EXPECT_EQ(sink.ids.size(), answer.size());
  }
}

}  // namespace conclave
