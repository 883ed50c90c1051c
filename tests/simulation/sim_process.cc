#include "tests/simulation/sim_process.h"

#include <utility>

#include "common/check.h"

namespace conclave {

void SimProcess::start() {
  CHECK(!alive_);
  alive_ = true;
  stopped_ = false;
  ++incarnation_;
}

void SimProcess::kill() {
  CHECK(alive_);
  alive_ = false;
  kept_.clear();
}

void SimProcess::go_on() {
  stopped_ = false;
  while (!kept_.empty() && alive_ && !stopped_) {
    const std::function<void()> work = std::move(kept_.front());
    kept_.pop_front();
    work();
  }
}

void SimProcess::run(std::function<void()> work) {
  if (!alive_) return;
  if (stopped_) {
    kept_.push_back(std::move(work));
  } else {
    work();
  }
}

void SimProcess::after(absl::Duration delay, std::function<void()> work) {
  time_->after(delay, [this, incarnation = incarnation_, work = std::move(work)] {
    if (alive_ && incarnation == incarnation_) run(work);
  });
}

}  // namespace conclave
