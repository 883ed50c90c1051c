// One thread that runs what others leave for it, in order: where the gateway's state lives, so that
// it needs no locks.
//
// post() is thread-safe and never runs anything itself. Events must not block. `on_idle` is called
// after each batch of events and says when to be called again at the latest.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"

namespace conclave {

class EventLoop {
 public:
  using Event = std::function<void()>;

  // Starts the thread. `clock` outlives the loop.
  EventLoop(const Clock* clock, std::function<absl::Time()> on_idle);

  // For threads that need no timers.
  explicit EventLoop(const Clock* clock)
      : EventLoop(clock, [] { return absl::InfiniteFuture(); }) {}

  // stop()
  ~EventLoop();

  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // After stop() the event runs where it is posted: nobody is left to race with.
  void post(Event event);

  // Runs the event and returns when it has returned. Not on the loop's own thread.
  void run(const Event& event);

  // Runs what was posted, then ends the thread. Idempotent.
  void stop();

 private:
  void work();
  std::vector<Event> take(absl::Time until);

  const Clock* const clock_;  // outlives this
  const std::function<absl::Time()> on_idle_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Event> events_;
  bool stopping_ = false;
  bool stopped_ = false;

  std::thread thread_;  // last: it uses everything above
};

}  // namespace conclave
