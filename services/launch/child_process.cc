#include "services/launch/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "nlohmann/json.hpp"

namespace conclave {
namespace {

constexpr int kReadyFd = 3;  // in the child
constexpr absl::Duration kLook = absl::Milliseconds(10);

absl::Status failed(absl::string_view what) {
  return absl::InternalError(absl::StrCat(what, ": ", std::strerror(errno)));
}

// After fork() in a process with threads: nothing that takes a lock or memory.
[[noreturn]] void become(const char* program, char* const* argv, int ready_fd, int log_fd,
                         pid_t parent) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) _exit(127);
  setpgid(0, 0);  // a terminal's Ctrl-C is for the parent, which stops the children in order
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (log_fd >= 0) dup2(log_fd, STDERR_FILENO);
  if (ready_fd == kReadyFd) {
    fcntl(ready_fd, F_SETFD, 0);
  } else {
    dup2(ready_fd, kReadyFd);
  }
  execv(program, argv);
  _exit(127);
}

ExitState exit_state_of(int status) {
  if (WIFSIGNALED(status)) return {.signal = WTERMSIG(status)};
  return {.exit_code = WEXITSTATUS(status)};
}

}  // namespace

std::string ExitState::to_string() const {
  return signal != 0 ? absl::StrCat("signal ", signal) : absl::StrCat("exit code ", exit_code);
}

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::start(const Options& options) {
  if (access(options.program.c_str(), X_OK) != 0) {
    return absl::NotFoundError(absl::StrCat(options.program, ": ", std::strerror(errno)));
  }
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) return failed("pipe");
  int log_fd = -1;
  if (!options.log_file.empty()) {
    log_fd = open(options.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log_fd < 0) {
      const absl::Status status = failed(options.log_file);
      close(pipe_fds[0]);
      close(pipe_fds[1]);
      return status;
    }
  }
  std::vector<std::string> args = options.args;
  args.push_back(absl::StrCat("--ready-fd=", kReadyFd));
  std::vector<char*> argv = {const_cast<char*>(options.program.c_str())};
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);

  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) become(options.program.c_str(), argv.data(), pipe_fds[1], log_fd, parent);
  const absl::Status forked = pid > 0 ? absl::OkStatus() : failed("fork");
  close(pipe_fds[1]);
  if (log_fd >= 0) close(log_fd);
  if (!forked.ok()) {
    close(pipe_fds[0]);
    return forked;
  }
  fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
  return std::unique_ptr<ChildProcess>(new ChildProcess(pid, pipe_fds[0]));
}

ChildProcess::~ChildProcess() {
  if (!exit_state()) {
    signal(SIGKILL);
    wait(absl::InfiniteDuration());
  }
  if (ready_fd_ >= 0) close(ready_fd_);
}

void ChildProcess::poll() {
  char block[4096];
  while (ready_fd_ >= 0) {
    const ssize_t count = read(ready_fd_, block, sizeof(block));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return;  // nothing now
    if (count == 0) {
      close(std::exchange(ready_fd_, -1));
      return;
    }
    unread_.append(block, static_cast<size_t>(count));
    for (size_t end; (end = unread_.find('\n')) != std::string::npos;) {
      read_line(unread_.substr(0, end));
      unread_.erase(0, end + 1);
    }
  }
}

// Our own programs write it, so a line that is none is left alone.
void ChildProcess::read_line(const std::string& line) {
  const nlohmann::json json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object()) return;
  if (json.contains("ready") && json["ready"].is_object()) {
    const nlohmann::json& ready = json["ready"];
    ready_ = Ready{.role = ready.value("role", ""),
                   .address = ready.value("address", ""),
                   .metrics = ready.value("metrics", "")};
  } else if (json.contains("progress")) {
    progress_ = {.part = json.value("progress", ""),
                 .done_bytes = json.value("done", uint64_t{0}),
                 .total_bytes = json.value("total", uint64_t{0})};
  }
}

std::optional<ExitState> ChildProcess::exit_state() {
  if (exit_) return exit_;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) == pid_) exit_ = exit_state_of(status);
  return exit_;
}

void ChildProcess::signal(int number) {
  if (!exit_state()) kill(pid_, number);
}

std::optional<ExitState> ChildProcess::wait(absl::Duration timeout) {
  const absl::Time end = absl::Now() + timeout;
  while (!exit_state() && absl::Now() < end) absl::SleepFor(kLook);
  return exit_;
}

}  // namespace conclave
