// A server as a real process, told over --ready-fd when it is there.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "common/check.h"
#include "nlohmann/json.hpp"

namespace conclave {

class ChildProcess {
 public:
  // Runs `command` with --ready-fd added; what it says on stderr goes to a file.
  explicit ChildProcess(std::vector<std::string> command) {
    char path[] = "/tmp/conclave_child_XXXXXX";
    const int log = mkstemp(path);
    CHECK(log >= 0);
    log_path_ = path;
    int fds[2];
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    ready_fd_ = fds[0];
    command.insert(command.end(), {"--ready-fd", "3"});
    std::vector<char*> argv;
    for (std::string& word : command) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, log, STDERR_FILENO);
    posix_spawn_file_actions_adddup2(&actions, fds[1], 3);
    CHECK(posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    close(log);
    close(fds[1]);
  }
  ~ChildProcess() {
    if (pid_ > 0) stop(SIGKILL);
    close(ready_fd_);
    unlink(log_path_.c_str());
  }

  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Blocks until it is there; {} when it ended before. What came before is in progress().
  nlohmann::json wait_ready() {
    for (std::string line; read_line(&line); line.clear()) {
      const nlohmann::json said = nlohmann::json::parse(line);
      if (said.contains("ready")) return said["ready"];
      progress_.push_back(said);
    }
    return {};
  }
  const std::vector<nlohmann::json>& progress() const { return progress_; }

  void signal(int number) const { kill(pid_, number); }

  // Blocks until it is gone: its exit code, or 128 and the signal that ended it.
  int wait() {
    int status = 0;
    CHECK(waitpid(pid_, &status, 0) == pid_);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  int stop(int number) {
    signal(number);
    return wait();
  }

  std::string log() const {
    std::ostringstream text;
    text << std::ifstream(log_path_).rdbuf();
    return text.str();
  }

 private:
  bool read_line(std::string* line) {
    for (char c; read(ready_fd_, &c, 1) == 1;) {
      if (c == '\n') return true;
      line->push_back(c);
    }
    return false;
  }

  pid_t pid_ = 0;
  int ready_fd_ = -1;
  std::string log_path_;
  std::vector<nlohmann::json> progress_;
};

}  // namespace conclave
