#include "services/server/stop_signal.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>

#include "common/check.h"
#include "common/clock.h"

namespace conclave {
namespace {

// Takes one event out of a descriptor that poll() says has some.
template <typename Event>
void take_one(int fd) {
  Event event;
  CHECK(read(fd, &event, sizeof event) == sizeof event);
}

// poll() takes milliseconds as an int; a wait without end is cut into long ones.
int to_poll_ms(absl::Duration left) {
  constexpr absl::Duration kLongest = absl::Hours(1);
  if (left <= absl::ZeroDuration()) return 0;
  return static_cast<int>(absl::ToInt64Milliseconds(std::min(left, kLongest))) + 1;
}

}  // namespace

StopSignal::StopSignal() {
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
  signals_ = signalfd(-1, &set, SFD_CLOEXEC);
  CHECK(signals_ >= 0);
  requests_ = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
  CHECK(requests_ >= 0);
}

StopSignal::~StopSignal() {
  close(signals_);
  close(requests_);
}

bool StopSignal::wait(absl::Duration timeout) {
  const SystemClock clock;
  const absl::Time until = clock.now() + timeout;
  while (status().ok()) {
    const absl::Duration left = until - clock.now();
    pollfd fds[] = {{signals_, POLLIN, 0}, {requests_, POLLIN, 0}};
    if (poll(fds, 2, to_poll_ms(left)) > 0) {
      if ((fds[1].revents & POLLIN) != 0) {
        take_one<uint64_t>(requests_);
      } else {
        take_one<signalfd_siginfo>(signals_);
      }
      return true;
    }
    if (left <= absl::ZeroDuration()) return false;
  }
  return true;
}

void StopSignal::request(const absl::Status& why) {
  {
    const std::lock_guard lock(mutex_);
    if (status_.ok()) status_ = why;
  }
  const uint64_t one = 1;
  CHECK(write(requests_, &one, sizeof one) == sizeof one);
}

absl::Status StopSignal::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

}  // namespace conclave
