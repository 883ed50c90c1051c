#include "services/gateway/event_loop.h"

#include <algorithm>
#include <utility>

namespace conclave {

EventLoop::EventLoop(const Clock* clock, std::function<absl::Time()> on_idle)
    : clock_(clock), on_idle_(std::move(on_idle)), thread_([this] { work(); }) {}

EventLoop::~EventLoop() { stop(); }

void EventLoop::post(Event event) {
  {
    const std::lock_guard lock(mutex_);
    if (!stopped_) {
      events_.push_back(std::move(event));
      // Under the lock, here and in stop(): once the event has run, the loop may be gone.
      changed_.notify_one();
      return;
    }
  }
  event();
}

void EventLoop::run(const Event& event) {
  std::mutex mutex;
  std::condition_variable done_changed;
  bool done = false;
  post([&] {
    event();
    // Under the lock, for the waiter destroys all three once it has seen `done`.
    const std::lock_guard lock(mutex);
    done = true;
    done_changed.notify_one();
  });
  std::unique_lock lock(mutex);
  done_changed.wait(lock, [&] { return done; });
}

void EventLoop::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void EventLoop::work() {
  absl::Time until = on_idle_();
  while (true) {
    const std::vector<Event> events = take(until);
    for (const Event& event : events) event();
    {
      const std::lock_guard lock(mutex_);
      if (stopping_ && events_.empty()) {
        stopped_ = true;
        return;
      }
    }
    until = on_idle_();
  }
}

std::vector<EventLoop::Event> EventLoop::take(absl::Time until) {
  std::unique_lock lock(mutex_);
  const auto has_work = [this] { return stopping_ || !events_.empty(); };
  if (until == absl::InfiniteFuture()) {
    changed_.wait(lock, has_work);
  } else {
    const absl::Duration left = std::max(until - clock_->now(), absl::ZeroDuration());
    changed_.wait_for(lock, absl::ToChronoNanoseconds(left), has_work);
  }
  return std::exchange(events_, {});
}

}  // namespace conclave
