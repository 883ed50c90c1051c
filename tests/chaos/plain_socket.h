// Plain TCP over the loopback interface, for tests of the proxy. Every wait ends after kPatience.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "absl/time/time.h"
#include "common/check.h"
#include "tests/chaos/loopback.h"

namespace conclave {

class PlainSocket {
 public:
  static constexpr absl::Duration kPatience = absl::Seconds(20);

  explicit PlainSocket(int fd) : fd_(fd) { CHECK(fd_ >= 0); }
  PlainSocket(PlainSocket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~PlainSocket() {
    if (sender_.joinable()) sender_.join();
    if (fd_ >= 0) close(fd_);
  }

  static PlainSocket connect_to(int32_t port) {
    PlainSocket made(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in to = loopback_address(port);
    CHECK(connect(made.fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0);
    return made;
  }

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count < 0) return;  // the other end will be missed
      bytes.remove_prefix(static_cast<size_t>(count));
    }
  }
  void send_in_background(std::string bytes) {
    CHECK(!sender_.joinable());
    sender_ = std::thread([this, bytes = std::move(bytes)] { send(bytes); });
  }
  void end_output() { shutdown(fd_, SHUT_WR); }

  bool has_bytes_within(absl::Duration time) const {
    pollfd waiting{.fd = fd_, .events = POLLIN, .revents = 0};
    return poll(&waiting, 1, static_cast<int>(absl::ToInt64Milliseconds(time))) == 1;
  }

  // Fewer bytes where the stream ends or nothing comes.
  std::string receive(size_t size) {
    std::string bytes;
    while (bytes.size() < size && has_bytes_within(kPatience)) {
      std::string block(size - bytes.size(), '\0');
      const ssize_t count = recv(fd_, block.data(), block.size(), 0);
      if (count <= 0) break;
      bytes.append(block, 0, static_cast<size_t>(count));
    }
    return bytes;
  }

  bool is_ended() const { return next_recv() == 0; }
  bool is_reset() const { return next_recv() < 0; }

 private:
  // What recv() of a byte says; 1 where nothing comes.
  ssize_t next_recv() const {
    char byte = 0;
    return has_bytes_within(kPatience) ? recv(fd_, &byte, 1, 0) : 1;
  }

  int fd_;
  std::thread sender_;
};

class PlainListener {
 public:
  PlainListener() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = loopback_address(0);
    socklen_t size = sizeof(address);
    CHECK(bind(fd_, reinterpret_cast<const sockaddr*>(&address), size) == 0);
    CHECK(listen(fd_, SOMAXCONN) == 0);
    CHECK(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
  }
  ~PlainListener() { close(); }
  PlainListener(const PlainListener&) = delete;
  PlainListener& operator=(const PlainListener&) = delete;

  int32_t port() const { return port_; }
  PlainSocket accept() { return PlainSocket(::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC)); }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
  int32_t port_ = 0;
};

}  // namespace conclave
