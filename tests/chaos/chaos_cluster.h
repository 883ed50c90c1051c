// The cluster that a chaos run breaks: one gateway, attention nodes, expert servers with every
// expert on exactly two of them; and, where lines are to be broken too, the proxy between them:
// attention nodes reach expert servers through it, the gateway reaches attention nodes, all of them
// reach control, and clients the gateway.
//
// One thread, which must outlive the cluster (services/launch/child_process.h).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/launch/local_cluster.h"
#include "tests/chaos/fault_proxy.h"

namespace conclave {

class ChaosCluster {
 public:
  // Which lines lead through the proxy: it takes its share of the cores.
  struct Lines {
    bool to_servers = false;
    bool to_control = false;
    bool of_clients = false;

    bool any() const { return to_servers || to_control || of_clients; }
  };

  struct Options {
    std::string model;
    std::string transport = "grpc";
    std::string routing = "local";
    int32_t attention_nodes = 2;
    int32_t expert_servers = 3;
    int32_t threads = 1;          // of each process
    int32_t prefill_chunk = 512;  // of attention nodes
    Lines proxied;
    uint64_t seed = 1;
    std::vector<std::string> gateway_flags;
    std::vector<std::string> all_flags;  // of nodes and expert servers
    // The programs of another build: servers are launched from here and from there by turns, so
    // that both are at work at all times. Empty: of this build alone.
    std::string other_bin_dir;
  };

  // An error says where the logs are.
  static absl::StatusOr<std::unique_ptr<ChaosCluster>> start(const Options& options);

  LocalCluster* cluster() { return cluster_.get(); }
  FaultProxy* proxy() { return proxy_.get(); }  // null where there is none
  const std::string& address() const { return cluster_->address(); }
  // The same for those whose lines may be broken.
  const std::string& client_address() const {
    return client_address_.empty() ? address() : client_address_;
  }
  const std::string& log_dir() const { return log_dir_; }

  // The places of a role that there are now, ascending.
  std::vector<int32_t> places(ClusterRole role) const;

  // What the proxy calls the line to a server, that of a server to control, and those of clients.
  static std::string line_to(ClusterRole role, int32_t idx);
  static std::string control_line_of(ClusterRole role, int32_t idx);
  static constexpr const char* kClientLines = "clients";

  // Until all places are filled, registered, and every expert is held.
  absl::Status wait_until_whole();

  // New expert servers, or SIGTERM to the newest, until there are `count`; control moves the
  // experts.
  absl::Status resize(int32_t count);

  // What ended without having been asked to, in words; empty: nothing.
  std::string problem() const;

  // Waits until nothing runs anywhere and every page of the caches is free again.
  absl::Status wait_until_idle();

 private:
  ChaosCluster() = default;

  std::vector<std::string> own_flags(ClusterRole role, int32_t idx);
  std::string own_control(ClusterRole role, int32_t idx, const std::string& address);
  std::string own_bin_dir(ClusterRole role, int32_t idx);

  Lines proxied_;
  std::string log_dir_;
  std::string client_address_;  // empty: there is no line of its own
  std::string other_bin_dir_;
  std::map<std::string, int> num_launches_;  // by line
  int32_t next_port_ = 0;
  std::unique_ptr<FaultProxy> proxy_;                         // outlives the cluster
  std::map<std::string, std::vector<std::string>> flags_of_;  // by line
  std::map<std::string, std::string> control_of_;             // by line: its near end
  std::unique_ptr<LocalCluster> cluster_;
};

}  // namespace conclave
