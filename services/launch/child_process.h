// A server process that this one started and answers for: it tells how far it is through a pipe
// (services/server/ready_line.h), and it dies with its parent, however that dies.
//
// One thread, which must be the one that outlives the child: the kernel kills the child when the
// thread that made it ends.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace conclave {

// How a process ended.
struct ExitState {
  int exit_code = 0;
  int signal = 0;  // 0: it exited by itself

  bool clean() const { return exit_code == 0 && signal == 0; }
  std::string to_string() const;  // "exit code 1", "signal 9"
};

class ChildProcess {
 public:
  struct Options {
    std::string program;            // path
    std::vector<std::string> args;  // without the program's name; --ready-fd is added
    std::string log_file;           // stderr goes there; empty: to ours
  };
  struct Ready {
    std::string role;
    std::string address;
    std::string metrics;
  };
  struct Progress {
    std::string part;
    uint64_t done_bytes = 0;
    uint64_t total_bytes = 0;
  };

  // Starts it. NOT_FOUND naming a program that is not there.
  static absl::StatusOr<std::unique_ptr<ChildProcess>> start(const Options& options);

  // Kills it and waits, if it still runs.
  ~ChildProcess();

  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  const std::optional<Ready>& ready() const { return ready_; }
  const Progress& progress() const { return progress_; }

  // Reads what it has told; never blocks.
  void poll();

  // How it ended; nothing while it runs. Never blocks.
  std::optional<ExitState> exit_state();

  // No effect on one that has ended.
  void signal(int number);

  // Waits for its end; nothing after `timeout`.
  std::optional<ExitState> wait(absl::Duration timeout);

 private:
  ChildProcess(pid_t pid, int ready_fd) : pid_(pid), ready_fd_(ready_fd) {}

  void read_line(const std::string& line);

  const pid_t pid_;
  int ready_fd_;
  std::string unread_;  // the beginning of a line
  std::optional<Ready> ready_;
  Progress progress_;
  std::optional<ExitState> exit_;
};

}  // namespace conclave
