// A whole cluster of processes on this machine: one gateway, attention nodes, expert servers, each
// with a port of its own on the loopback interface. What `conclave up` runs, and what the tests
// break.
//
// One thread, which must outlive the cluster (child_process.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/launch/child_process.h"

namespace conclave {

enum class ClusterRole { kGateway, kAttentionNode, kExpertServer };
std::string_view role_name(ClusterRole role);  // "gateway", "attention_node", "expert_server"

class LocalCluster {
 public:
  struct Options {
    std::string bin_dir;  // where the three programs lie
    std::string model;    // folder
    int32_t attention_nodes = 1;
    int32_t expert_servers = 2;
    int32_t min_replicas = 1;  // servers that hold each expert; at most expert_servers
    // Expert servers begin with their part and then hold what control orders; those that are
    // launched in further places begin with nothing. Otherwise each holds its part for ever.
    bool managed = false;
    int32_t port = 0;  // of the gateway; 0: any
    std::string routing = "local";
    std::string transport = "auto";  // of legs: auto, grpc or shm
    std::string log_dir;             // a file per process; empty: all of it on our stderr

    // Further flags of each role's processes.
    std::vector<std::string> gateway_flags;
    std::vector<std::string> node_flags;
    std::vector<std::string> expert_flags;
    // And of one process alone, asked each time that it is launched.
    std::function<std::vector<std::string>(ClusterRole, int32_t idx)> own_flags =
        [](ClusterRole, int32_t) { return std::vector<std::string>(); };
    // Where a server finds control, when not where control listens; empty: there.
    std::function<std::string(ClusterRole, int32_t idx, const std::string& address)> own_control =
        [](ClusterRole, int32_t, const std::string&) { return std::string(); };
    // Where its program lies when it is launched this time; empty: in bin_dir.
    std::function<std::string(ClusterRole, int32_t idx)> own_bin_dir = [](ClusterRole, int32_t) {
      return std::string();
    };

    // Called now and then while the cluster starts, and to ask whether to give up.
    std::function<void(const LocalCluster&)> on_progress = [](const LocalCluster&) {};
    std::function<bool()> give_up = [] { return false; };
  };
  struct Process {
    ClusterRole role = ClusterRole::kGateway;
    int32_t idx = 0;  // among those of its role
    std::unique_ptr<ChildProcess> child;
  };

  // Starts everything and waits until every process serves and is registered. An error names the
  // process that ended instead; all are stopped then.
  static absl::StatusOr<std::unique_ptr<LocalCluster>> start(Options options);

  // stop() without patience.
  ~LocalCluster();

  LocalCluster(const LocalCluster&) = delete;
  LocalCluster& operator=(const LocalCluster&) = delete;

  const std::vector<Process>& processes() const { return processes_; }

  // The process that has this place now, dead or alive; null where none was started.
  ChildProcess* find(ClusterRole role, int32_t idx) const;

  // HOST:PORT of the gateway.
  const std::string& address() const { return address_; }

  // Starts one process without waiting for it, in the place of a dead one or in a new place. All
  // but the gateway find each other by it, so it is started first.
  absl::Status launch(ClusterRole role, int32_t idx);

  // SIGTERM to one process, and its place is gone when it has ended. INTERNAL when it did not end
  // well; after `patience` it is killed.
  absl::Status remove(ClusterRole role, int32_t idx, absl::Duration patience);

  // Waits until the gateway knows `nodes` attention nodes and `servers` expert servers, and every
  // expert is held. DEADLINE_EXCEEDED says what is missing.
  absl::Status wait_until_complete(int32_t nodes, int32_t servers, absl::Duration timeout);

  // SIGTERM to the gateway, then to attention nodes, then to expert servers; each group has until
  // `patience` is over and is killed then. INTERNAL names those that did not end well; those that
  // were dead before do not count.
  absl::Status stop(absl::Duration patience);

 private:
  explicit LocalCluster(Options options) : options_(std::move(options)) {}

  absl::Status wait_until_serving(absl::Duration timeout);
  absl::Status check_alive() const;
  std::vector<std::string> args_of(ClusterRole role, int32_t idx) const;
  std::string experts_of(int32_t idx) const;
  void stop_group(ClusterRole role, absl::Time end, std::string* bad);

  const Options options_;
  std::string address_;
  std::vector<Process> processes_;
};

}  // namespace conclave
