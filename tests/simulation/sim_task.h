// A process's own thread of thought: code that blocks in the middle, while the rest of the world
// goes on.
//
// It is a thread, but never runs beside another: one baton goes from the world to the task with
// resume() and back with pause(), so that exactly one of them runs at any time. (A thread and not a
// fiber, so that sanitizers and debuggers see what they know.)
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace conclave {

class SimTask {
 public:
  // `body` begins with the first resume().
  explicit SimTask(std::function<void()> body);

  // REQUIRES: is_over()
  ~SimTask();

  SimTask(const SimTask&) = delete;
  SimTask& operator=(const SimTask&) = delete;

  // The world: lets the task run until it pauses or is over.
  // REQUIRES: !is_over()
  void resume();

  // The task: back to whoever resumed it; returns when it is resumed again.
  void pause();

  bool is_over() const { return is_over_; }

 private:
  enum class Baton { kWorld, kTask };

  void hand_over(Baton to);

  std::mutex mutex_;
  std::condition_variable changed_;
  Baton baton_ = Baton::kWorld;
  bool is_over_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace conclave
