// When a process is to end: SIGTERM, SIGINT, or a failure in one of its threads.
//
// Made at the start of main(), before there is any other thread: it blocks both signals, which all
// later threads inherit, and ignores SIGPIPE for the process. Signals are then read by wait(), so
// that no code runs in a signal handler.
#pragma once

#include <mutex>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace conclave {

class StopSignal {
 public:
  StopSignal();
  ~StopSignal();

  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  // Blocks until the process is asked to stop, or `timeout` has passed: false. Each signal and each
  // request is told once, so a second call waits for a second one: whoever asks twice does not want
  // to wait for draining. One thread.
  bool wait(absl::Duration timeout);

  // Asks from inside the process. With an error the process is to end with it: wait() then returns
  // true at once, for ever. Only the first error counts. Thread-safe.
  void request(const absl::Status& why = absl::OkStatus());

  // The error of request(), or OK. Thread-safe.
  absl::Status status() const;

 private:
  int signals_ = -1;   // a signalfd
  int requests_ = -1;  // an eventfd
  mutable std::mutex mutex_;
  absl::Status status_;
};

}  // namespace conclave
