#include "tests/simulation/sim_task.h"

#include <utility>

#include "common/check.h"

namespace conclave {

SimTask::SimTask(std::function<void()> body)
    : thread_([this, body = std::move(body)] {
        {
          std::unique_lock lock(mutex_);
          changed_.wait(lock, [this] { return baton_ == Baton::kTask; });
        }
        body();
        const std::lock_guard lock(mutex_);
        is_over_ = true;
        baton_ = Baton::kWorld;
        changed_.notify_all();
      }) {}

SimTask::~SimTask() {
  CHECK(is_over_);
  thread_.join();
}

void SimTask::hand_over(Baton to) {
  std::unique_lock lock(mutex_);
  CHECK(baton_ != to);
  const Baton mine = baton_;
  baton_ = to;
  lock.unlock();  // or the other would wake only to wait for it
  changed_.notify_all();
  lock.lock();
  changed_.wait(lock, [this, mine] { return baton_ == mine; });
}

void SimTask::resume() {
  CHECK(!is_over_);
  hand_over(Baton::kTask);
}

void SimTask::pause() { hand_over(Baton::kWorld); }

}  // namespace conclave
