#include "tests/simulation/sim_frontend.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "tests/simulation/sim_model.h"

namespace conclave {
namespace {

constexpr absl::Duration kFirstPause = absl::Milliseconds(100);
constexpr absl::Duration kLongestPause = absl::Seconds(2);
constexpr int64_t kSpoiledBatch = 12;

}  // namespace

void SimNodeLink::set_nodes(const std::vector<NodeInfo>& nodes) {
  nodes_.clear();
  for (const NodeInfo& info : nodes) nodes_[info.server] = parts_.find(info.id);
}

void SimNodeLink::run(ServerId node, RunHandle handle, NodeRequest request) {
  const auto found = nodes_.find(node);
  if (found == nodes_.end()) {
    parts_.process->after(absl::ZeroDuration(), [this, handle] {
      parts_.on_failed(handle, absl::UnavailableError("the attention node is gone"));
    });
    return;
  }
  SimNode* const there = found->second;
  parts_.world.log->say(
      "frontend", absl::StrFormat("run %d: %s after %d ids on %s", static_cast<uint64_t>(handle),
                                  request.id, request.generated.size(), there->name()));
  const RunVoice voice{
      .tokens = [this, handle](RunBatch batch) { deliver(handle, std::move(batch)); },
      .finished = [this, handle](RunEnd end) { parts_.on_finished(handle, end); }};
  streams_[handle] = parts_.world.network->open(
      parts_.process, there->process(),
      [there, request = std::move(request), voice](StreamId stream) {
        there->run(stream, request, voice);
      },
      [this, handle](const absl::Status& status) {
        streams_.erase(handle);
        parts_.on_failed(handle,
                         status.ok() ? absl::UnavailableError("ended without an answer") : status);
      });
}

// A cancelled call ends at once, and says so.
void SimNodeLink::cancel(RunHandle handle) {
  const auto found = streams_.find(handle);
  if (found == streams_.end()) return;
  parts_.world.network->close(found->second, parts_.process, absl::CancelledError("cancelled"));
  streams_.erase(found);
  parts_.process->after(absl::ZeroDuration(), [this, handle] {
    parts_.on_failed(handle, absl::CancelledError("cancelled"));
  });
}

void SimNodeLink::deliver(RunHandle handle, RunBatch batch) {
  const bool now = ++num_batches_ == kSpoiledBatch && !batch.ids.empty();
  if (now && parts_.world.sabotage == Sabotage::kLostId) {
    batch.ids.pop_back();
    if (!batch.logprobs.empty()) batch.logprobs.pop_back();
  } else if (now && parts_.world.sabotage == Sabotage::kDoubledId) {
    batch.ids.push_back(batch.ids.back());
    if (!batch.logprobs.empty()) batch.logprobs.push_back(batch.logprobs.back());
  }
  parts_.on_tokens(handle, std::move(batch));
}

SimFrontend::State::State(SimFrontend* frontend)
    : link({.world = frontend->parts_,
            .process = &frontend->process_,
            .find = frontend->find_,
            .on_tokens =
                [this, frontend](RunHandle handle, RunBatch batch) {
                  table.on_tokens(handle, std::move(batch));
                  frontend->settle();
                },
            .on_finished =
                [this, frontend](RunHandle handle, RunEnd end) {
                  table.on_run_finished(handle, end);
                  frontend->settle();
                },
            .on_failed =
                [this, frontend](RunHandle handle, const absl::Status& status) {
                  table.on_run_failed(handle, status);
                  frontend->settle();
                }}),
      table({.clock = frontend->parts_.time, .link = &link},
            {.model = {.vocab_size = kSimVocab, .max_positions = kSimPositions},
             .max_queued = frontend->options_.max_queued}),
      pause(kFirstPause) {}

void SimFrontend::start() {
  process_.start();
  parts_.log->say("frontend", "starts");
  state_ = std::make_unique<State>(this);
  watch();
}

// The clients hear that their streams broke; the nodes that their calls did.
void SimFrontend::kill() {
  parts_.log->say("frontend", "is killed");
  parts_.network->on_kill(&process_);
  process_.kill();
  count();
  state_->table.fail_all(absl::UnavailableError("the gateway is gone"));
  state_.reset();
}

void SimFrontend::count() const {
  const TableCounters& table = state_->table.counters();
  parts_.counts->num_runs += table.num_runs;
  parts_.counts->num_replays += table.num_replays;
  parts_.counts->num_turned_away += table.num_turned_away;
  parts_.counts->num_deadlines += table.num_deadline;
  parts_.counts->num_cancels += table.num_cancelled + table.num_client_gone;
}

void SimFrontend::watch() {
  SimControl* const control = control_;
  const TellNodes tell = [this](const std::vector<NodeInfo>& nodes, const std::string& problem) {
    state_->pause = kFirstPause;
    state_->link.set_nodes(nodes);
    state_->table.set_cluster_problem(problem);
    state_->table.nodes_changed(nodes);
    settle();
  };
  parts_.network->open(
      &process_, control->process(),
      [control, tell, inside = options_.inside](StreamId stream) {
        control->watch_nodes(stream, tell, inside);
      },
      [this](const absl::Status&) {
        const absl::Duration pause = state_->pause;
        state_->pause = std::min(2 * pause, kLongestPause);
        process_.after(pause, [this] { watch(); });
      });
}

// After every event: what is due, and when to look next.
void SimFrontend::settle() {
  const absl::Time next = state_->table.tick();
  if (next >= state_->next_tick || next == absl::InfiniteFuture()) return;
  state_->next_tick = next;
  process_.after(next - parts_.time->now(), [this, next] {
    if (state_->next_tick == next) state_->next_tick = absl::InfiniteFuture();
    settle();
  });
}

absl::Status SimFrontend::submit(GatewayRequest request, ClientSink* sink) {
  const absl::Status status = state_->table.submit(std::move(request), sink);
  settle();
  return status;
}

void SimFrontend::cancel(const std::string& id) {
  state_->table.cancel(id);
  settle();
}

void SimFrontend::client_gone(const std::string& id, const ClientSink* sink) {
  state_->table.client_gone(id, sink);
  settle();
}

}  // namespace conclave
