#include "tests/simulation/scenario.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/simulation/sim_model.h"

namespace conclave {
namespace {

constexpr absl::Duration kStart = absl::Milliseconds(100);
constexpr std::array<const char*, kNumFaultKinds> kNames = {
    "kill server", "kill node",    "kill control",  "kill frontend",  "stop server",
    "stop node",   "stop control", "stop frontend", "drain server",   "drain node",
    "cut",         "isolate",      "reset",         "lose legs",      "damage answers",
    "slow server", "full server",  "other experts", "release experts"};

class Maker {
 public:
  explicit Maker(uint64_t seed) : random_(seed, /*salt=*/2) { made_.seed = seed; }

  Scenario make() {
    made_.one_gateway = random_.chance(0.5);
    made_.max_queued = random_.chance(0.3) ? random_.between(1, 4) : 64;
    made_.clock_skew = random_.duration(absl::Seconds(-20), absl::Seconds(2));
    made_.network.most_delay = random_.duration(absl::Microseconds(200), absl::Milliseconds(5));
    made_.doubling = random_.chance(0.3) ? 0.05 : 0;
    length_ = random_.duration(absl::Seconds(2), absl::Seconds(10));
    make_nodes();
    make_servers();
    make_clients();
    make_faults();
    return std::move(made_);
  }

 private:
  void make_nodes();
  void make_servers();
  void make_clients();
  void make_faults();
  ExpertSet some_of(const ExpertSet& set, double share);
  ClientPlan client(int32_t number);
  void give_ids(ClientPlan* plan);
  std::vector<int32_t> ids(int32_t count);

  SimRandom random_;
  Scenario made_;
  absl::Duration length_;  // in which clients come and faults begin
};

void Maker::make_nodes() {
  constexpr std::array<Overlap, 3> kOverlaps = {Overlap::kAuto, Overlap::kOn, Overlap::kOff};
  const int32_t count = random_.between(1, 4);
  const auto leg_timeout = random_.duration(absl::Milliseconds(300), absl::Seconds(4));
  for (int32_t i = 0; i < count; ++i) {
    SimNode::Options node{.name = absl::StrCat("node", i)};
    node.num_pages = random_.between(kSimPositions / kSimPageTokens, 60);
    node.max_running = random_.between(1, 6);
    node.prefill_chunk = random_.between(2, 24);
    node.max_requests = random_.between(2, 10);
    node.real_max_requests =
        random_.chance(0.2) ? random_.between(1, node.max_requests) : node.max_requests;
    node.pace = random_.duration(absl::Microseconds(200), absl::Milliseconds(4));
    node.leg_timeout = leg_timeout;
    node.overlap = kOverlaps[static_cast<size_t>(random_.below(3))];
    made_.nodes.push_back(std::move(node));
  }
}

// Every expert is on as many servers as there are replicas.
void Maker::make_servers() {
  const int32_t count = random_.between(1, 5);
  const int32_t replicas = random_.between(1, std::min(count, 3));
  const bool managed = random_.chance(0.6);
  made_.placement.min_replicas = replicas;
  made_.placement.spare = random_.chance(0.5) ? 0.25 : 0;
  for (int32_t i = 0; i < count; ++i) {
    SimExpertServer::Options options{.name = absl::StrCat("server", i)};
    options.max_queued_legs = random_.chance(0.2) ? random_.between(2, 6) : 64;
    options.pace = random_.duration(absl::Microseconds(100), absl::Milliseconds(3));
    options.managed = managed && !random_.chance(0.1);
    options.load_time = random_.duration(absl::Milliseconds(1), absl::Milliseconds(300));
    // The first has room for all that nobody else has.
    if (i > 0 && random_.chance(0.2)) options.num_slots = random_.between(1, 2 * kSimExperts);
    made_.servers.push_back({.options = options, .held = ExpertSet(kSimLayers, kSimExperts)});
  }
  for (int32_t layer = 1; layer < kSimLayers; ++layer) {
    for (int32_t e = 0; e < kSimExperts; ++e) {
      const int32_t first = (e + random_.below(2)) % count;
      for (int32_t r = 0; r < replicas; ++r) {
        made_.servers[static_cast<size_t>((first + r) % count)].held.insert(layer, e);
      }
    }
  }
  const ExpertSet all = ExpertSet::all(sim_model().config());
  for (ScenarioServer& server : made_.servers) {
    const bool begins_empty = server.options.managed && random_.chance(0.3);
    if (begins_empty) server.held = ExpertSet(kSimLayers, kSimExperts);
    if (server.held.empty() && !begins_empty) server.held.insert(1, 0);
    server.options.num_slots = std::max(server.options.num_slots, server.held.size());
    server.other = some_of(random_.chance(0.5) ? all : server.held, 0.6);
    server.options.num_slots = std::max(server.options.num_slots, server.other.size());
  }
}

ExpertSet Maker::some_of(const ExpertSet& set, double share) {
  ExpertSet some(kSimLayers, kSimExperts);
  for (int32_t layer = 1; layer < kSimLayers; ++layer) {
    for (int32_t e = 0; e < kSimExperts; ++e) {
      if (set.contains(layer, e) && random_.chance(share)) some.insert(layer, e);
    }
  }
  return some.empty() ? set : some;
}

void Maker::make_clients() {
  const int32_t count = random_.between(6, 36);
  for (int32_t i = 0; i < count; ++i) made_.clients.push_back(client(i));
}

std::vector<int32_t> Maker::ids(int32_t count) {
  std::vector<int32_t> made(static_cast<size_t>(count));
  for (int32_t& id : made) id = random_.below(kSimVocab);
  return made;
}

ClientPlan Maker::client(int32_t number) {
  ClientPlan plan{.at = random_.chance(0.3) ? kStart : random_.duration(kStart, length_)};
  GatewayRequest& request = plan.request;
  request.id = absl::StrCat("r", number);
  request.wants_text = false;
  request.priority = random_.chance(0.2) ? random_.between(-1, 2) : 0;
  request.sampling.temperature = random_.chance(0.4) ? 0.f : 1.f;
  request.sampling.top_k = random_.chance(0.3) ? 5 : 0;
  request.sampling.repetition_penalty = random_.chance(0.3) ? 1.2f : 1.f;
  request.sampling.presence_penalty = random_.chance(0.2) ? 0.5f : 0.f;
  request.sampling.seed = static_cast<uint64_t>(random_.below(1 << 30));
  request.sampling.num_logprobs = random_.chance(0.4) ? random_.below(3) : -1;
  request.sampling.prompt_logprobs = request.sampling.wants_logprobs() && random_.chance(0.4);
  if (random_.chance(0.5)) request.sampling.stop_ids = ids(1);
  give_ids(&plan);
  if (random_.chance(0.15)) {
    plan.patience = random_.duration(absl::Milliseconds(20), absl::Seconds(8));
  }
  if (random_.chance(0.15)) {
    plan.wish = random_.chance(0.5) ? ClientWish::kCancel : ClientWish::kGoAway;
    plan.wish_after = random_.duration(absl::ZeroDuration(), absl::Seconds(2));
  }
  return plan;
}

void Maker::give_ids(ClientPlan* plan) {
  GatewayRequest& request = plan->request;
  request.prompt = ids(random_.between(1, 24));
  request.sampling.max_tokens = random_.between(1, 30);
  request.sampling.min_tokens = random_.chance(0.2) ? request.sampling.max_tokens / 2 : 0;
  if (!random_.chance(0.15)) return;
  request.score_only = random_.chance(0.5);
  const int32_t most = std::min(8, request.sampling.max_tokens - 1);
  request.forced = ids(random_.between(0, most));
}

void Maker::make_faults() {
  const int32_t count = random_.chance(0.05) ? 0 : random_.between(1, 14);
  for (int32_t i = 0; i < count; ++i) {
    const absl::Duration longest = absl::Seconds(random_.chance(0.5) ? 5 : 0.5);
    made_.faults.push_back({.kind = static_cast<FaultKind>(random_.below(kNumFaultKinds)),
                            .at = random_.duration(kStart, length_),
                            .lasts = random_.duration(absl::Milliseconds(5), longest),
                            .a = random_.below(1 << 20),
                            .b = random_.below(1 << 20),
                            .strength = random_.fraction()});
  }
  std::sort(made_.faults.begin(), made_.faults.end(),
            [](const Fault& a, const Fault& b) { return a.at < b.at; });
}

}  // namespace

std::string Fault::to_string() const {
  return absl::StrFormat("%s for %s", kNames[static_cast<size_t>(kind)],
                         absl::FormatDuration(absl::Trunc(lasts, absl::Milliseconds(1))));
}

absl::Duration Scenario::end_of_faults() const {
  absl::Duration end = kStart;
  for (const Fault& fault : faults) end = std::max(end, fault.at + fault.lasts);
  for (const ClientPlan& client : clients) end = std::max(end, client.at);
  return end;
}

Scenario make_scenario(uint64_t seed) { return Maker(seed).make(); }

}  // namespace conclave
