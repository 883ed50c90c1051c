#include "router/shm/shm_server.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <deque>
#include <utility>

#include "common/check.h"
#include "common/status_macros.h"

namespace conclave {
namespace {

// Without descriptors nobody can be let in, and who waits at the door keeps it readable.
constexpr itimerspec kAcceptPause{.it_interval = {},
                                  .it_value = {.tv_sec = 0, .tv_nsec = 100'000'000}};

}  // namespace

struct ShmServer::Client {
  ClientNo no = 0;
  UniqueFd socket;                // until there is a link
  std::unique_ptr<ShmLink> link;  // made on the watch's thread, then the engine's
  std::atomic<bool> gone{false};

  // Of the engine's thread.
  int32_t num_in_flight = 0;    // legs that are not answered, or whose answer waits
  std::deque<LegSaid> waiting;  // answers that the ring had no room for
};

absl::StatusOr<std::unique_ptr<ShmServer>> ShmServer::open(const Options& options) {
  std::unique_ptr<ShmServer> server(new ShmServer(options, ShmEndpoint::make()));
  ASSIGN_OR_RETURN(server->bell_, SharedDoorbell::create(options.spin));
  ASSIGN_OR_RETURN(server->listener_, listen_at(server->endpoint_));
  server->pause_end_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!server->pause_end_.valid()) return absl::ResourceExhaustedError("no descriptor for a timer");
  ASSIGN_OR_RETURN(server->watch_, SocketWatch::start());
  server->watch_->add(server->pause_end_.get(),
                      [self = server.get()] { return self->go_on_accepting(); });
  server->watch_->add(server->listener_.get(),
                      [self = server.get()] { return self->on_connection(); });
  return server;
}

ShmServer::ShmServer(const Options& options, ShmEndpoint endpoint)
    : options_(options), endpoint_(std::move(endpoint)) {}

ShmServer::~ShmServer() { watch_.reset(); }

bool ShmServer::on_connection() {
  absl::StatusOr<UniqueFd> socket = accept_from(listener_.get());
  if (absl::IsUnavailable(socket.status())) return pause_accepting();
  if (!socket.ok() || num_links_ >= options_.max_links) return true;
  ++num_links_;
  auto client = std::make_unique<Client>();
  Client* const self = client.get();
  self->no = next_client_++;
  self->socket = *std::move(socket);
  greeting_[self->no] = std::move(client);
  watch_->add(self->socket.get(), [this, self] { return on_message(self); });
  return true;
}

bool ShmServer::pause_accepting() {
  CHECK(timerfd_settime(pause_end_.get(), 0, &kAcceptPause, nullptr) == 0);
  return false;
}

bool ShmServer::go_on_accepting() {
  uint64_t num_ends = 0;
  if (read(pause_end_.get(), &num_ends, sizeof num_ends) != sizeof num_ends) return true;
  watch_->add(listener_.get(), [this] { return on_connection(); });
  return true;
}

// The first message makes the link. Another means that the client has gone, or is none of ours.
bool ShmServer::on_message(Client* client) {
  const auto greeting = greeting_.find(client->no);
  if (greeting == greeting_.end()) {
    client->gone.store(true);
    bell()->ring();
    return false;
  }
  absl::StatusOr<std::unique_ptr<ShmLink>> link = ShmLink::welcome(&client->socket, *bell_);
  std::unique_ptr<Client> self = std::move(greeting->second);
  greeting_.erase(greeting);
  if (!link.ok()) {
    --num_links_;
  } else {
    self->link = *std::move(link);
  }
  const bool goes_on = self->link != nullptr;
  {
    const std::lock_guard lock(mutex_);
    arrivals_.push_back(std::move(self));
  }
  bell()->ring();
  return goes_on;
}

void ShmServer::take_arrivals() {
  std::vector<std::unique_ptr<Client>> arrivals;
  {
    const std::lock_guard lock(mutex_);
    arrivals.swap(arrivals_);
  }
  for (std::unique_ptr<Client>& client : arrivals) {
    if (client->link != nullptr) {
      clients_[client->no] = std::move(client);
    } else {
      watch_->remove(client->socket.get());  // the callback that gave it up is over then
    }
  }
}

void ShmServer::poll(LegHandler* handler) {
  take_arrivals();
  for (auto next = clients_.begin(); next != clients_.end();) {
    Client* const client = next->second.get();
    ++next;  // let_go() leaves the others where they are
    if (!serve(client, handler)) let_go(client->no);
  }
}

bool ShmServer::serve(Client* client, LegHandler* handler) {
  if (client->gone.load()) return false;
  write_waiting(client);
  if (read_legs(client, handler)) return true;
  ++num_broken_links_;
  return false;
}

bool ShmServer::read_legs(Client* client, LegHandler* handler) {
  RingReader* const reader = client->link->reader();
  while (client->num_in_flight < options_.max_legs_in_flight) {
    const auto record = reader->next();
    if (!record.ok()) return false;
    if (!record->has_value()) return true;
    absl::StatusOr<LegRecord> leg = read_leg(**record);
    if (reader->consume()) client->link->other_bell()->ring();
    if (!leg.ok()) return false;
    submit(client, *std::move(leg), handler);
  }
  return true;
}

void ShmServer::submit(Client* client, LegRecord record, LegHandler* handler) {
  ++client->num_in_flight;
  LegSaid said{.sequence = record.sequence,
               .status = record.wrong,
               .dtype = record.leg.reply_type,
               .num_cols = record.leg.hidden.num_cols};
  if (!said.status.ok()) return answer(client->no, std::move(said));
  handler->submit(std::move(record.leg),
                  [this, to = client->no, said = std::move(said)](auto rows) mutable {
                    said.status = rows.status();
                    if (rows.ok()) said.rows = *std::move(rows);
                    answer(to, std::move(said));
                  });
}

void ShmServer::answer(ClientNo to, LegSaid said) {
  const auto found = clients_.find(to);
  if (found == clients_.end()) return;
  found->second->waiting.push_back(std::move(said));
  write_waiting(found->second.get());
}

void ShmServer::write_waiting(Client* client) {
  bool has_written = false;
  while (!client->waiting.empty()) {
    const LegSaid& said = client->waiting.front();
    std::byte* const record = client->link->writer()->reserve(reply_record_bytes(said));
    if (record == nullptr) break;
    write_reply(said, record);
    client->link->writer()->commit();
    client->waiting.pop_front();
    --client->num_in_flight;
    has_written = true;
  }
  if (has_written) client->link->other_bell()->ring();
}

void ShmServer::let_go(ClientNo client) {
  const auto found = clients_.find(client);
  CHECK(found != clients_.end());
  watch_->remove(found->second->link->socket());
  clients_.erase(found);
  --num_links_;
}

}  // namespace conclave
