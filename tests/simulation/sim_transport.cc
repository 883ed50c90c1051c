#include "tests/simulation/sim_transport.h"

#include <algorithm>

namespace conclave {
namespace {

constexpr absl::Duration kFirstPause = absl::Milliseconds(50);
constexpr absl::Duration kLongestPause = absl::Seconds(2);

ArrivedLeg leg_of(const LegRequest& request) {
  return {.layer_idx = request.layer_idx,
          .placement_version = request.placement_version,
          .pick_begin = {request.pick_begin.begin(), request.pick_begin.end()},
          .pick_expert = {request.pick_expert.begin(), request.pick_expert.end()},
          .reply_type = request.reply_type,
          .hidden = {.dtype = request.row_type,
                     .num_rows = static_cast<int32_t>(request.pick_begin.size()) - 1,
                     .num_cols = request.num_cols,
                     .bytes = request.rows}};
}

}  // namespace

void SimTransport::set_servers(const ClusterView& view) {
  std::map<ServerId, Link> kept;
  for (const PlacedServer& placed : view.servers) {
    const auto known = links_.find(placed.server);
    const bool moved = known != links_.end() && known->second.server != parts_.find(placed.id);
    if (known != links_.end() && !moved) kept[placed.server] = known->second;
  }
  std::swap(kept, links_);
  for (const auto& [id, link] : kept) {
    const auto still = links_.find(id);
    if (still != links_.end() && still->second.server == link.server) continue;
    if (link.up) {
      parts_.world.network->close(link.stream, parts_.process, absl::CancelledError(""));
    }
    lose(id, absl::UnavailableError("the server was dropped"));
  }
  for (const PlacedServer& placed : view.servers) {
    if (links_.contains(placed.server)) continue;
    links_[placed.server] = {.server = parts_.find(placed.id), .pause = kFirstPause};
    connect(placed.server);
  }
}

void SimTransport::connect(ServerId id) {
  Link& link = links_.at(id);
  link.up = true;
  link.number = next_number_++;
  link.stream = parts_.world.network->open(
      parts_.process, link.server->process(), [](StreamId) {},
      [this, id, number = link.number](const absl::Status&) { on_broken(id, number); });
}

void SimTransport::on_broken(ServerId id, uint64_t number) {
  const auto found = links_.find(id);
  if (found == links_.end() || found->second.number != number) return;
  Link& link = found->second;
  link.up = false;
  lose(id, absl::UnavailableError("the connection broke"));
  parts_.process->after(link.pause, [this, id, number] {
    const auto again = links_.find(id);
    if (again != links_.end() && again->second.number == number) connect(id);
  });
  link.pause = std::min(2 * link.pause, kLongestPause);
}

void SimTransport::send(const LegRequest& request, LegReply* reply) {
  *reply = {};
  const auto link = links_.find(request.server);
  if (dead_ || link == links_.end() || !link->second.up) {
    *reply = {.done = true, .status = absl::UnavailableError("there is no connection")};
    return;
  }
  reply->via = "simulated";
  const uint64_t sequence = next_sequence_++;
  away_[sequence] = {.reply = reply, .server = request.server};
  SimNetwork* const network = parts_.world.network;
  SimExpertServer* const server = link->second.server;
  const SimNetwork::Target here{parts_.process, parts_.process->incarnation()};
  const SimNetwork::Target there{server->process(), server->process()->incarnation()};
  const auto answer = [=, this](const absl::StatusOr<SharedBytes>& said) {
    const bool damaged = network->damages();
    network->send_leg(there.process, here, [this, sequence, said, damaged] {
      arrive(sequence, damaged ? absl::DataLossError("the checksum is wrong") : said);
    });
  };
  network->send_leg(here.process, there,
                    [server, leg = leg_of(request), answer] { server->receive(leg, answer); });
}

// Kept until the step looks: replies are written inside the calls of the step thread alone.
void SimTransport::arrive(uint64_t sequence, absl::StatusOr<SharedBytes> said) {
  const auto leg = away_.find(sequence);
  if (leg != away_.end() && links_.contains(leg->second.server)) {
    links_.at(leg->second.server).pause = kFirstPause;
  }
  arrived_.emplace_back(sequence, std::move(said));
  parts_.wake();
}

void SimTransport::lose(ServerId id, const absl::Status& status) {
  for (const auto& [sequence, leg] : away_) {
    if (leg.server == id) arrived_.emplace_back(sequence, status);
  }
  parts_.wake();
}

void SimTransport::poll() {
  for (auto& [sequence, said] : std::exchange(arrived_, {})) {
    const auto found = away_.find(sequence);
    if (found == away_.end()) {
      ++parts_.world.counts->num_late_answers;
      continue;
    }
    LegReply* const reply = found->second.reply;
    reply->status = said.status();
    if (said.ok()) reply->rows = *std::move(said);
    reply->done = true;
    away_.erase(found);
    ++num_finished_;
  }
}

bool SimTransport::wait(absl::Time until) {
  const uint64_t before = num_finished_;
  while (true) {
    poll();
    if (num_finished_ != before) return true;
    if (parts_.world.time->now() >= until) return false;
    parts_.block(until);
  }
}

void SimTransport::cancel(LegReply* reply, absl::Status status) {
  if (reply->done) return;
  std::erase_if(away_, [reply](const auto& entry) { return entry.second.reply == reply; });
  reply->done = true;
  reply->status = std::move(status);
}

void SimTransport::die() {
  dead_ = true;
  for (const auto& [sequence, leg] : away_) {
    arrived_.emplace_back(sequence, absl::UnavailableError("this node is killed"));
  }
}

}  // namespace conclave
