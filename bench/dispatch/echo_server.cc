#include "bench/dispatch/echo_server.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/report/cpu_time.h"
#include "common/check.h"
#include "common/host_memory.h"
#include "kernels/row_codec.h"
#include "router/shm/shm_server.h"
#include "router/wire/leg_service.h"
#include "router/wire/wire_limits.h"

namespace conclave {
namespace {

// The engine thread of an expert server (services/expert_server/expert_worker.h) without an engine.
class EchoWorker final : public LegHandler {
 public:
  explicit EchoWorker(LegSource* source) : source_(source) {}

  void submit(ArrivedLeg leg, Done done) override {
    {
      const std::lock_guard lock(mutex_);
      legs_.push_back({std::move(leg), std::move(done)});
    }
    source_->bell()->ring();
  }

  [[noreturn]] void work() {
    while (true) {
      const uint32_t ticket = source_->bell()->ticket();
      source_->poll(this);
      if (!answer_all()) source_->bell()->wait(ticket, absl::InfiniteDuration());
    }
  }

 private:
  struct Waiting {
    ArrivedLeg leg;
    Done done;
  };

  bool answer_all() {
    std::vector<Waiting> legs;
    {
      const std::lock_guard lock(mutex_);
      legs.swap(legs_);
    }
    for (const Waiting& waiting : legs) waiting.done(echo(waiting.leg));
    return !legs.empty();
  }

  static SharedBytes echo(const ArrivedLeg& leg) {
    const size_t row_bytes = packed_row_bytes(leg.hidden.dtype, leg.hidden.num_cols);
    SharedBytes said = SharedBytes::of_size(leg.pick_expert.size() * row_bytes);
    for (size_t m = 0; m + 1 < leg.pick_begin.size(); ++m) {
      for (int32_t p = leg.pick_begin[m]; p < leg.pick_begin[m + 1]; ++p) {
        std::memcpy(said.fill() + static_cast<size_t>(p) * row_bytes,
                    leg.hidden.bytes.data() + m * row_bytes, row_bytes);
      }
    }
    return said;
  }

  LegSource* const source_;
  std::mutex mutex_;
  std::vector<Waiting> legs_;
};

std::string read_line(int fd) {
  std::string line;
  for (char letter = 0; read(fd, &letter, 1) == 1 && letter != '\n';) line += letter;
  return line;
}

}  // namespace

int run_echo_server() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  keep_freed_memory();
  auto shm = ShmServer::open({});
  CHECK(shm.ok());
  EchoWorker worker(shm->get());
  LegService service(&worker, {});
  int port = 0;
  grpc::ServerBuilder builder;
  apply_wire_limits(&builder);
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(service.service());
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  CHECK(server != nullptr);
  std::printf("127.0.0.1:%d\n%s\n", port, (*shm)->endpoint().c_str());
  std::fflush(stdout);
  worker.work();
}

EchoServers::EchoServers(int32_t count) {
  view_.version = 1;
  for (int32_t i = 0; i < count; ++i) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
      dup2(ends[1], STDOUT_FILENO);
      execl("/proc/self/exe", "echo_server", kEchoFlag, nullptr);
      _exit(127);
    }
    pids_.push_back(pid);
    close(ends[1]);
    PlacedServer server{.server = ServerId{i}, .id = absl::StrCat("echo-", i)};
    server.address = read_line(ends[0]);
    server.shm_endpoint = read_line(ends[0]);
    view_.servers.push_back(std::move(server));
    close(ends[0]);
  }
}

EchoServers::~EchoServers() {
  for (const pid_t pid : pids_) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
}

double EchoServers::cpu_seconds() const {
  double seconds = 0;
  for (const pid_t pid : pids_) seconds += conclave::cpu_seconds(pid);
  return seconds;
}

}  // namespace conclave
