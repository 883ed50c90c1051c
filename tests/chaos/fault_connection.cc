#include "tests/chaos/fault_connection.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace conclave {

FaultConnection::FaultConnection(int client_fd, int server_fd, uint64_t seed)
    : client_fd_(client_fd),
      server_fd_(server_fd),
      up_{.direction = Direction::kToServer,
          .from = client_fd,
          .to = server_fd,
          .pipe = FaultPipe(Direction::kToServer, 2 * seed)},
      down_{.direction = Direction::kToClient,
            .from = server_fd,
            .to = client_fd,
            .pipe = FaultPipe(Direction::kToClient, 2 * seed + 1)} {}

FaultConnection::~FaultConnection() {
  close(client_fd_);
  close(server_fd_);
}

bool FaultConnection::wants_input(const Way& way, const WireFault& fault) const {
  return !way.is_input_over && !way.pipe.is_full() && fault.kind != WireFault::Kind::kStall;
}

void FaultConnection::add_polls(const WireFault& fault, absl::Time now,
                                std::vector<pollfd>* polls) const {
  const auto side = [&](const Way& in, const Way& out) {
    short events = 0;
    if (wants_input(in, fault)) events |= POLLIN;
    if (!out.is_output_over && !out.pipe.ready(fault, now).empty()) events |= POLLOUT;
    // A socket that nothing is wanted of still tells of its end, again and again.
    polls->push_back({.fd = events == 0 ? -1 : in.from, .events = events, .revents = 0});
  };
  side(up_, down_);
  side(down_, up_);
}

absl::Time FaultConnection::next_look(const WireFault& fault) const {
  return std::min(up_.pipe.next_ready(fault), down_.pipe.next_ready(fault));
}

void FaultConnection::pump(const WireFault& fault, absl::Time now, const pollfd* polls) {
  if (polls[0].revents != 0) read(&up_, fault, now);
  if (polls[1].revents != 0) read(&down_, fault, now);
  if (is_over_) return;
  write(&up_, fault, now);
  write(&down_, fault, now);
  if (up_.is_output_over && down_.is_output_over) is_over_ = true;
}

void FaultConnection::read(Way* way, const WireFault& fault, absl::Time now) {
  std::array<char, 65536> block;
  while (!is_over_ && wants_input(*way, fault)) {
    const ssize_t count = recv(way->from, block.data(), block.size(), 0);
    if (count > 0) {
      way->pipe.take({block.data(), static_cast<size_t>(count)}, fault, now);
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == ENOTCONN)) return;
    way->is_input_over = true;
    if (fault.loses(way->direction)) {
      way->pipe.lose();  // nobody hears of the end either
    } else if (count < 0) {
      reset();
    }
  }
}

void FaultConnection::write(Way* way, const WireFault& fault, absl::Time now) {
  for (;;) {
    const std::string_view bytes = way->pipe.ready(fault, now);
    if (bytes.empty()) break;
    const ssize_t count = send(way->to, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == ENOTCONN)) return;
    if (count < 0) return reset();
    way->pipe.consume(static_cast<size_t>(count));
  }
  const bool is_last = way->is_input_over && way->pipe.is_empty() && !way->pipe.has_lost();
  if (!is_last || way->is_output_over) return;
  shutdown(way->to, SHUT_WR);
  way->is_output_over = true;
}

void FaultConnection::reset() {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  setsockopt(client_fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  setsockopt(server_fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  is_over_ = true;
}

}  // namespace conclave
