#include "router/shm/socket_watch.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/check.h"

namespace conclave {
namespace {

void watch(int epoll, int fd) {
  epoll_event event{.events = EPOLLIN | EPOLLRDHUP, .data = {.fd = fd}};
  CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
}

}  // namespace

absl::StatusOr<std::unique_ptr<SocketWatch>> SocketWatch::start() {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  UniqueFd stop(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll.valid() || !stop.valid()) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("cannot watch sockets: %s", std::strerror(errno)));
  }
  watch(epoll.get(), stop.get());
  std::unique_ptr<SocketWatch> self(new SocketWatch(std::move(epoll), std::move(stop)));
  try {
    self->thread_ = std::thread([watch = self.get()] { watch->work(); });
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("the machine refuses a thread: %s", error.what()));
  }
  return self;
}

SocketWatch::~SocketWatch() {
  const uint64_t one = 1;
  if (!thread_.joinable()) return;
  CHECK(write(stop_.get(), &one, sizeof(one)) == sizeof(one));
  thread_.join();
}

void SocketWatch::add(int socket, Callback readable) {
  const std::lock_guard lock(mutex_);
  callbacks_[socket] = std::move(readable);
  watch(epoll_.get(), socket);
}

void SocketWatch::remove(int socket) {
  const std::lock_guard lock(mutex_);
  if (callbacks_.erase(socket) == 0) return;
  CHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, socket, nullptr) == 0);
}

void SocketWatch::work() {
  std::array<epoll_event, 16> events{};
  while (true) {
    const int count = epoll_wait(epoll_.get(), events.data(), events.size(), -1);
    CHECK(count >= 0 || errno == EINTR);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.fd == stop_.get()) return;
      on_readable(events[i].data.fd);
    }
  }
}

void SocketWatch::on_readable(int socket) {
  const std::lock_guard lock(mutex_);
  const auto found = callbacks_.find(socket);
  if (found == callbacks_.end() || found->second()) return;
  callbacks_.erase(found);
  CHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, socket, nullptr) == 0);
}

}  // namespace conclave
