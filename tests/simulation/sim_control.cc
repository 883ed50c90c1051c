#include "tests/simulation/sim_control.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/simulation/sim_model.h"

namespace conclave {
namespace {

constexpr absl::Duration kSettling = absl::Seconds(3);
constexpr absl::Duration kTick = absl::Milliseconds(500);

}  // namespace

SimControl::State::State(const VirtualTime* time, int64_t first_version,
                         const PlacementControl::Options& options)
    : membership(sim_model().config(), time,
                 {.weights = sim_model().profile(false).weights,
                  .silence_limit = 6 * kHeartbeat,
                  .first_version = first_version}),
      placement(sim_model().config(),
                {.clock = time, .membership = &membership, .planner = &planner}, options),
      settled_at(time->now() + kSettling) {}

void SimControl::start(absl::Duration skew) {
  process_.start();
  const absl::Time clock = parts_.time->now() + skew;
  state_ = std::make_unique<State>(parts_.time, absl::ToUnixMillis(clock), placement_options_);
  parts_.log->say("control", absl::StrFormat("starts at version %d", absl::ToUnixMillis(clock)));
  tick();
}

void SimControl::kill() {
  parts_.log->say("control", "is killed");
  parts_.network->on_kill(&process_);
  process_.kill();
  state_.reset();
}

void SimControl::on_line(StreamId line) {
  state_->lines[line] = {};
  parts_.network->set_on_break(line, [this, line](const absl::Status&) { gone(line); });
}

void SimControl::hello(StreamId line, ServerFacts facts, ControlVoice voice) {
  const std::string id = facts.id;
  const absl::StatusOr<ServerId> server = state_->membership.join(facts);
  if (!server.ok()) {
    parts_.log->say("control", absl::StrCat("refuses ", id, ": ", server.status().ToString()));
    return end(line, server.status());
  }
  parts_.log->say("control", absl::StrFormat("%s joined as %d", id, static_cast<int>(*server)));
  Line& joined = state_->lines[line];
  joined.member = *server;
  state_->placement.joined(*server, facts);
  joined.voice = std::move(voice);
  parts_.network->send(line, &process_, joined.voice.welcome);
  members_changed();
}

void SimControl::beat(StreamId line, const Heartbeat& beat) {
  const auto found = state_->lines.find(line);
  if (found == state_->lines.end() || !found->second.member) return;
  const absl::Status status = state_->membership.heartbeat(*found->second.member, beat);
  if (!status.ok()) {
    parts_.log->violate(absl::StrCat("control refuses a heartbeat: ", status.ToString()));
    gone(line);
    return end(line, status);
  }
  state_->placement.heard(*found->second.member, beat);
  members_changed();
  for (auto& [stream, member] : state_->lines) {
    if (!member.member || member.said_goodbye) continue;
    if (!state_->membership.may_leave(*member.member)) continue;
    member.said_goodbye = true;
    parts_.network->send(stream, &process_, member.voice.goodbye);
  }
}

void SimControl::watch_placement(StreamId stream, TellView tell) {
  parts_.network->set_on_break(
      stream, [this, stream](const absl::Status&) { state_->view_watchers.erase(stream); });
  const TellView& kept = state_->view_watchers[stream] = std::move(tell);
  if (publishes_placement()) push_view(stream, kept);
}

void SimControl::watch_nodes(StreamId stream, TellNodes tell, bool inside) {
  parts_.network->set_on_break(
      stream, [this, stream](const absl::Status&) { state_->node_watchers.erase(stream); });
  const NodeWatcher& kept = state_->node_watchers[stream] = {std::move(tell), inside};
  if (inside || publishes_nodes()) push_nodes(stream, kept);
}

bool SimControl::publishes_placement() const {
  return state_->membership.coverage().complete() || publishes_nodes();
}

void SimControl::give_orders() {
  for (const PlacementControl::Order& order : state_->placement.update()) {
    for (const auto& [stream, line] : state_->lines) {
      if (line.member != order.server) continue;
      parts_.network->send(stream, &process_,
                           [tell = line.voice.order, what = order.order] { tell(what); });
    }
  }
}

void SimControl::members_changed() {
  give_orders();
  for (const auto& [stream, watcher] : state_->node_watchers) {
    if (watcher.inside || publishes_nodes()) push_nodes(stream, watcher);
  }
  const int64_t version = state_->membership.placement().version;
  if (!publishes_placement() || version == state_->version) return;
  state_->version = version;
  for (const auto& [stream, tell] : state_->view_watchers) push_view(stream, tell);
}

void SimControl::push_view(StreamId stream, const TellView& tell) {
  parts_.network->send(stream, &process_,
                       [tell, view = state_->membership.placement()] { tell(view); });
}

void SimControl::push_nodes(StreamId stream, const NodeWatcher& watcher) {
  const Coverage& coverage = state_->membership.coverage();
  std::string problem;
  if (!coverage.complete()) {
    problem = absl::StrCat("no server holds ", coverage.missing.to_string());
  }
  parts_.network->send(stream, &process_,
                       [tell = watcher.tell, nodes = state_->membership.nodes(),
                        problem = std::move(problem)] { tell(nodes, problem); });
}

void SimControl::tick() {
  const std::vector<ServerId> silent = state_->membership.expire();
  for (const ServerId server : silent) {
    for (auto& [line, member] : state_->lines) {
      if (member.member != server) continue;
      parts_.log->say("control", absl::StrFormat("takes out %d", static_cast<int>(server)));
      ++parts_.counts->num_expulsions;
      state_->placement.left(server);
      member.member.reset();
      end(line, absl::UnavailableError("no heartbeat came for six intervals"));
      break;
    }
  }
  members_changed();
  process_.after(kTick, [this] { tick(); });
}

// The line is over, or as good as.
void SimControl::gone(StreamId line) {
  const auto found = state_->lines.find(line);
  if (found == state_->lines.end()) return;
  const std::optional<ServerId> member = found->second.member;
  state_->lines.erase(found);
  if (!member) return;
  parts_.log->say("control", absl::StrFormat("%d left", static_cast<int>(*member)));
  state_->membership.leave(*member);
  state_->placement.left(*member);
  members_changed();
}

void SimControl::end(StreamId line, const absl::Status& status) {
  parts_.network->close(line, &process_, status);
  state_->lines.erase(line);
}

}  // namespace conclave
