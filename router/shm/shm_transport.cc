#include "router/shm/shm_transport.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "router/shm/unix_socket.h"

namespace conclave {
namespace {

constexpr char kVia[] = "shm";

}  // namespace

// A server: without a socket, greeting it, or linked.
struct ShmTransport::Peer {
  struct Outgoing {
    uint64_t sequence = 0;
    LegRequest request;
  };

  ServerId id{};
  std::string endpoint;
  UniqueFd socket;  // while greeting
  std::unique_ptr<ShmLink> link;
  std::atomic<bool> stirred{false};  // the watch has seen something on the socket
  absl::Time next_try = absl::InfinitePast();
  int32_t num_away = 0;
  std::deque<Outgoing> waiting;  // legs that the ring had no room for
};

absl::StatusOr<std::unique_ptr<ShmTransport>> ShmTransport::create(const Clock* clock,
                                                                   const Options& options) {
  CHECK(options.max_legs_in_flight > 0);
  std::unique_ptr<ShmTransport> self(new ShmTransport(clock, options));
  ASSIGN_OR_RETURN(self->bell_, SharedDoorbell::create(options.spin));
  ASSIGN_OR_RETURN(self->watch_, SocketWatch::start());
  return self;
}

ShmTransport::ShmTransport(const Clock* clock, const Options& options)
    : clock_(clock), options_(options) {}

ShmTransport::~ShmTransport() { watch_.reset(); }

void ShmTransport::set_servers(std::span<const Server> servers) {
  std::map<ServerId, std::unique_ptr<Peer>> next;
  for (const Server& server : servers) {
    const auto found = peers_.find(server.id);
    std::unique_ptr<Peer> peer;
    if (found != peers_.end() && found->second->endpoint == server.endpoint) {
      peer = std::move(found->second);
      peers_.erase(found);
    } else {
      peer = std::make_unique<Peer>();
      peer->id = server.id;
      peer->endpoint = server.endpoint;
      connect(peer.get());
    }
    const bool is_new = next.emplace(server.id, std::move(peer)).second;
    CHECK(is_new);
  }
  for (const auto& [id, peer] : peers_) {
    hang_up(peer.get(), absl::UnavailableError(
                            absl::StrFormat("server %d has left", static_cast<int32_t>(id))));
  }
  peers_ = std::move(next);
}

bool ShmTransport::reaches(ServerId server) const {
  const auto found = peers_.find(server);
  return found != peers_.end() && found->second->link != nullptr;
}

// Asks for a link; the answer comes through the watch. Failing is nothing: there is another time.
void ShmTransport::connect(Peer* peer) {
  peer->next_try = clock_->now() + options_.retry_pause;
  const absl::StatusOr<ShmEndpoint> endpoint = ShmEndpoint::parse(peer->endpoint);
  if (!endpoint.ok() || !endpoint->is_here()) {
    peer->next_try = absl::InfiniteFuture();
    return;
  }
  absl::StatusOr<UniqueFd> socket = connect_to(*endpoint);
  if (!socket.ok() || !ShmLink::say_hello(socket->get(), *bell_).ok()) return;
  peer->socket = *std::move(socket);
  watch_->add(peer->socket.get(), [this, peer] {
    peer->stirred.store(true);
    bell()->ring();
    return false;
  });
}

void ShmTransport::send(const LegRequest& request, LegReply* reply) {
  reply->done = false;
  reply->status = absl::OkStatus();
  reply->rows.clear();
  reply->via = {};
  poll();
  absl::Status status = try_send(request, reply);
  if (status.ok()) return;
  reply->status = std::move(status);
  reply->done = true;
}

absl::Status ShmTransport::try_send(const LegRequest& request, LegReply* reply) {
  const auto server = static_cast<int32_t>(request.server);
  if (!reaches(request.server)) {
    return absl::UnavailableError(absl::StrFormat("no shared memory with server %d", server));
  }
  Peer* const peer = peers_.find(request.server)->second.get();
  if (peer->num_away >= options_.max_legs_in_flight) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("server %d: %d legs are away already", server, peer->num_away));
  }
  if (leg_record_bytes(request) > kMaxRecordBytes) {
    return absl::InvalidArgumentError(absl::StrFormat("a leg of %d bytes; the limit is %d",
                                                      leg_record_bytes(request), kMaxRecordBytes));
  }
  const uint64_t sequence = next_sequence_++;
  away_[sequence] = {reply, peer, {request.reply_type, request.num_cols}};
  reply->via = kVia;
  ++peer->num_away;
  peer->waiting.push_back({sequence, request});
  write_waiting(peer);
  return absl::OkStatus();
}

void ShmTransport::write_waiting(Peer* peer) {
  bool has_written = false;
  while (!peer->waiting.empty()) {
    const Peer::Outgoing& leg = peer->waiting.front();
    std::byte* const record = peer->link->writer()->reserve(leg_record_bytes(leg.request));
    if (record == nullptr) break;
    write_leg(leg.sequence, leg.request, record);
    peer->link->writer()->commit();
    peer->waiting.pop_front();
    has_written = true;
  }
  if (has_written) peer->link->other_bell()->ring();
}

bool ShmTransport::wait(absl::Time until) {
  const uint64_t num_finished_before = num_finished_;
  while (true) {
    const uint32_t ticket = bell()->ticket();
    poll();
    if (num_finished_ != num_finished_before) return true;
    CHECK(!away_.empty() || until != absl::InfiniteFuture());
    const absl::Duration left = until - clock_->now();
    if (left <= absl::ZeroDuration()) return false;
    bell()->wait(ticket, left);
  }
}

void ShmTransport::cancel(LegReply* reply, absl::Status status) {
  poll();
  const auto found = std::find_if(away_.begin(), away_.end(),
                                  [&](const auto& entry) { return entry.second.reply == reply; });
  if (found == away_.end()) return;
  std::erase_if(found->second.peer->waiting,
                [&](const Peer::Outgoing& leg) { return leg.sequence == found->first; });
  finish(found, std::move(status));
}

void ShmTransport::poll() {
  for (const auto& [id, peer] : peers_) look_at(peer.get());
}

void ShmTransport::look_at(Peer* peer) {
  if (peer->link != nullptr) {
    // First what was said, then whether the one who said it has gone.
    const bool has_gone = peer->stirred.load();
    const absl::Status status = read_answers(peer);
    if (!status.ok()) return hang_up(peer, status);
    if (has_gone) return hang_up(peer, absl::UnavailableError("its process has gone"));
    return write_waiting(peer);
  }
  if (peer->socket.valid()) {
    if (!peer->stirred.exchange(false)) return;
    const int socket = peer->socket.get();
    watch_->remove(socket);
    absl::StatusOr<std::unique_ptr<ShmLink>> link = ShmLink::join(&peer->socket);
    if (!link.ok()) return hang_up(peer, link.status());
    peer->link = *std::move(link);
    watch_->add(socket, [this, peer] {
      peer->stirred.store(true);
      bell()->ring();
      return false;
    });
    return;
  }
  if (peer->next_try != absl::InfiniteFuture() && clock_->now() >= peer->next_try) connect(peer);
}

absl::Status ShmTransport::read_answers(Peer* peer) {
  RingReader* const reader = peer->link->reader();
  while (true) {
    ASSIGN_OR_RETURN(const auto record, reader->next());
    if (!record) return absl::OkStatus();
    absl::StatusOr<LegSaid> said = read_reply(*record);
    if (reader->consume()) peer->link->other_bell()->ring();
    RETURN_IF_ERROR(said.status());
    on_answer(peer, *std::move(said));
  }
}

void ShmTransport::on_answer(Peer* peer, LegSaid said) {
  const auto away = away_.find(said.sequence);
  if (away == away_.end() || away->second.peer != peer) return;  // it was given up
  absl::Status status = said.status;
  if (status.ok()) status = check_answer({said.dtype, said.num_cols}, away->second.asked);
  if (status.ok()) away->second.reply->rows = std::move(said.rows);
  finish(away, std::move(status));
}

// What is away to it is lost.
void ShmTransport::hang_up(Peer* peer, const absl::Status& why) {
  const int socket = peer->link != nullptr ? peer->link->socket() : peer->socket.get();
  if (socket >= 0) watch_->remove(socket);
  peer->link.reset();
  peer->socket.reset();
  peer->stirred.store(false);
  peer->waiting.clear();
  peer->next_try = clock_->now() + options_.retry_pause;
  const absl::Status lost = absl::UnavailableError(
      absl::StrFormat("server %d: %s", static_cast<int32_t>(peer->id), why.message()));
  for (auto away = away_.begin(); away != away_.end();) {
    const auto next = std::next(away);
    if (away->second.peer == peer) finish(away, lost);
    away = next;
  }
}

void ShmTransport::finish(std::map<uint64_t, Away>::iterator away, absl::Status status) {
  const Away leg = away->second;
  away_.erase(away);
  --leg.peer->num_away;
  ++num_finished_;
  leg.reply->status = std::move(status);
  leg.reply->done = true;
}

}  // namespace conclave
