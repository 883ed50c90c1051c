#include "services/server/ready_line.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "nlohmann/json.hpp"

namespace conclave {

ReadyLine::ReadyLine(int fd) : fd_(fd) {
  if (fd_ >= 0) fcntl(fd_, F_SETFD, FD_CLOEXEC);
}

ReadyLine::~ReadyLine() { close_fd(); }

void ReadyLine::progress(std::string_view part, uint64_t done, uint64_t total) {
  if (fd_ < 0) return;
  nlohmann::ordered_json line;
  line["progress"] = part;
  line["done"] = done;
  line["total"] = total;
  write_line(line.dump());
}

void ReadyLine::ready(const Ready& ready) {
  if (fd_ < 0) return;
  nlohmann::ordered_json line;
  line["ready"]["role"] = ready.role;
  line["ready"]["pid"] = getpid();
  line["ready"]["address"] = ready.address;
  line["ready"]["metrics"] = ready.metrics;
  write_line(line.dump());
  close_fd();
}

void ReadyLine::write_line(std::string line) {
  line.push_back('\n');
  for (size_t written = 0; fd_ >= 0 && written < line.size();) {
    const ssize_t count = write(fd_, line.data() + written, line.size() - written);
    if (count > 0) {
      written += static_cast<size_t>(count);
    } else if (count < 0 && errno != EINTR) {
      close_fd();  // nobody reads any more
    }
  }
}

void ReadyLine::close_fd() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

}  // namespace conclave
