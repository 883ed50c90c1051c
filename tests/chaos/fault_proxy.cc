#include "tests/chaos/fault_proxy.h"

#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/check.h"
#include "tests/chaos/loopback.h"

namespace conclave {
namespace {

void send_at_once(int fd) {
  const int yes = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

// Negative where nobody listens.
int connect_to(int32_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fd;
  send_at_once(fd);
  const sockaddr_in to = loopback_address(port);
  const int result = connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to));
  if (result == 0 || errno == EINPROGRESS) return fd;
  close(fd);
  return -1;
}

void refuse(int fd) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  close(fd);
}

int timeout_ms(absl::Time next_look) {
  if (next_look == absl::InfiniteFuture()) return -1;
  const int64_t wait =
      absl::ToInt64Milliseconds(absl::Ceil(next_look - absl::Now(), absl::Milliseconds(1)));
  return static_cast<int>(std::clamp<int64_t>(wait, 0, 1000));
}

}  // namespace

FaultProxy::FaultProxy(uint64_t seed)
    : wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)), next_seed_(seed) {
  CHECK(wake_fd_ >= 0);
  thread_ = std::thread([this] { run(); });
}

FaultProxy::~FaultProxy() {
  {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
  }
  wake();
  thread_.join();
  for (const auto& [name, link] : links_) close(link.listen_fd);
  close(wake_fd_);
}

absl::StatusOr<std::string> FaultProxy::add_link(const std::string& name, int32_t target_port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback_address(0);
  socklen_t size = sizeof(address);
  const bool is_open = fd >= 0 &&
                       bind(fd, reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
                       listen(fd, SOMAXCONN) == 0 &&
                       getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  if (!is_open) {
    const absl::Status status =
        absl::InternalError(absl::StrCat("no port for ", name, ": ", std::strerror(errno)));
    if (fd >= 0) close(fd);
    return status;
  }
  {
    const std::lock_guard lock(mutex_);
    const auto [link, is_new] = links_.try_emplace(name);
    CHECK(is_new);
    link->second.listen_fd = fd;
    link->second.target_port = target_port;
  }
  wake();
  return absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
}

void FaultProxy::set_fault(const std::string& name, const WireFault& fault) {
  {
    const std::lock_guard lock(mutex_);
    Link& link = links_.at(name);
    link.fault = fault;
    reset_if(&link, /*only_holed=*/true);
  }
  wake();
}

void FaultProxy::reset(const std::string& name) {
  {
    const std::lock_guard lock(mutex_);
    reset_if(&links_.at(name), /*only_holed=*/false);
  }
  wake();
}

FaultProxy::Counts FaultProxy::counts(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const Link& link = links_.at(name);
  Counts counts = link.counts;
  counts.num_open = static_cast<int64_t>(link.connections.size());
  for (const auto& connection : link.connections) counts.num_flipped += connection->num_flipped();
  return counts;
}

// Marks them; the thread closes, for it may be waiting for their sockets.
void FaultProxy::reset_if(Link* link, bool only_holed) {
  for (const auto& connection : link->connections) {
    if (connection->is_over() || (only_holed && !connection->has_lost())) continue;
    connection->reset();
    ++link->counts.num_reset;
  }
}

void FaultProxy::wake() const {
  const uint64_t one = 1;
  CHECK(write(wake_fd_, &one, sizeof(one)) == sizeof(one));
}

void FaultProxy::run() {
  for (;;) {
    std::vector<pollfd> waiting;
    absl::Time next_look = absl::InfiniteFuture();
    {
      const std::lock_guard lock(mutex_);
      if (is_over_) return;
      for (auto& [name, link] : links_) bury(&link);
      waiting = polls(&next_look);
    }
    if (poll(waiting.data(), waiting.size(), timeout_ms(next_look)) < 0) CHECK(errno == EINTR);
    uint64_t count = 0;
    static_cast<void>(read(wake_fd_, &count, sizeof(count)));
    const std::lock_guard lock(mutex_);
    handle(waiting);
  }
}

// The wake-up, then for each link its listening socket and its connections.
std::vector<pollfd> FaultProxy::polls(absl::Time* next_look) const {
  const absl::Time now = absl::Now();
  std::vector<pollfd> all = {{.fd = wake_fd_, .events = POLLIN, .revents = 0}};
  for (const auto& [name, link] : links_) {
    all.push_back({.fd = link.listen_fd, .events = POLLIN, .revents = 0});
    for (const auto& connection : link.connections) {
      connection->add_polls(link.fault, now, &all);
      const absl::Time look = connection->next_look(link.fault);
      // What is due and was not sent waits for its socket.
      if (look > now) *next_look = std::min(*next_look, look);
    }
  }
  return all;
}

// Between polls() and here links may have been added and connections marked, but none removed.
void FaultProxy::handle(const std::vector<pollfd>& polls) {
  const absl::Time now = absl::Now();
  size_t at = 1;
  for (auto& [name, link] : links_) {
    if (at >= polls.size() || polls[at].fd != link.listen_fd) continue;  // new
    const pollfd& listening = polls[at++];
    for (const auto& connection : link.connections) {
      if (!connection->is_over()) connection->pump(link.fault, now, &polls[at]);
      at += 2;
    }
    if (listening.revents != 0) accept_all(&link);
  }
}

void FaultProxy::accept_all(Link* link) {
  for (;;) {
    const int client = accept4(link->listen_fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client < 0) return;
    const bool is_cut = link->fault.kind == WireFault::Kind::kPartition;
    const int server = is_cut ? -1 : connect_to(link->target_port);
    if (server < 0) {
      refuse(client);
      continue;
    }
    send_at_once(client);
    ++link->counts.num_connections;
    link->connections.push_back(std::make_unique<FaultConnection>(client, server, next_seed_++));
  }
}

void FaultProxy::bury(Link* link) {
  std::erase_if(link->connections, [&](const std::unique_ptr<FaultConnection>& connection) {
    if (!connection->is_over()) return false;
    link->counts.num_flipped += connection->num_flipped();
    return true;
  });
}

}  // namespace conclave
