// A process of the simulated cluster as the operating system sees it: started, killed, stopped for
// a while, started again under its name as somebody else.
//
// What it is to do comes through run() and after(). While it is stopped that is kept, as sockets
// and timers keep it; when it is killed it is gone.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>

#include "tests/simulation/virtual_time.h"

namespace conclave {

class SimProcess {
 public:
  // `time` outlives this; this outlives every event of `time`.
  SimProcess(VirtualTime* time, std::string name) : time_(time), name_(std::move(name)) {}

  // REQUIRES: !alive()
  void start();
  // REQUIRES for these: alive()
  void kill();
  void stop() { stopped_ = true; }
  void go_on();

  const std::string& name() const { return name_; }
  bool alive() const { return alive_; }
  bool stopped() const { return stopped_; }
  uint64_t incarnation() const { return incarnation_; }  // 1 for the first

  // Now, or when the process goes on.
  void run(std::function<void()> work);
  // The same after a while.
  void after(absl::Duration delay, std::function<void()> work);

 private:
  VirtualTime* const time_;
  const std::string name_;
  uint64_t incarnation_ = 0;
  bool alive_ = false;
  bool stopped_ = false;
  std::deque<std::function<void()>> kept_;  // while it is stopped
};

}  // namespace conclave
