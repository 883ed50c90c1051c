// A thread that sleeps on sockets, for those whose own thread sleeps on a doorbell: it tells when
// one can be read or its other end has gone.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "absl/status/statusor.h"
#include "common/unique_fd.h"

namespace conclave {

class SocketWatch {
 public:
  // False: it wants to hear no more of this socket.
  using Callback = std::function<bool()>;

  // RESOURCE_EXHAUSTED where the machine refuses a thread or a descriptor.
  static absl::StatusOr<std::unique_ptr<SocketWatch>> start();

  // Joins the thread; no callback runs afterwards.
  ~SocketWatch();

  // `readable` is called on the watch's thread whenever there is something to read, a hang-up among
  // it, and must not block. Any thread may call these, callbacks too, but a callback ends its own
  // socket by what it returns. After remove() on another thread the callback
  // is not running and will not. Sockets outlive their being watched.
  void add(int socket, Callback readable);
  void remove(int socket);

 private:
  SocketWatch(UniqueFd epoll, UniqueFd stop) : epoll_(std::move(epoll)), stop_(std::move(stop)) {}

  void work();
  void on_readable(int socket);

  const UniqueFd epoll_;
  const UniqueFd stop_;         // an eventfd
  std::recursive_mutex mutex_;  // held while a callback runs
  std::map<int, Callback> callbacks_;
  std::thread thread_;
};

}  // namespace conclave
