// A cluster of real processes on this machine, as the benchmarks start it: one gateway, one
// attention node and two expert servers unless asked otherwise, and how much of the cores each of
// them has used.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "services/launch/local_cluster.h"

namespace conclave {

struct ClusterForm {
  std::string model;               // folder
  std::string transport = "grpc";  // of rows: auto, grpc or shm
  std::string routing = "local";
  int32_t threads = 2;  // of each process
  int32_t attention_nodes = 1;
  int32_t expert_servers = 2;
  int32_t min_replicas = 1;
  std::vector<std::string> node_flags;
  std::vector<std::string> all_flags;  // of nodes and expert servers, such as --weights
};

absl::StatusOr<std::unique_ptr<LocalCluster>> start_cluster(const ClusterForm& form);

// What all processes of a role have used so far.
double cpu_seconds(const LocalCluster& cluster, ClusterRole role);

}  // namespace conclave
