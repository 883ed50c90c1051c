// A cluster of real processes on this machine, as the benchmarks start it: one gateway, one
// attention node, two expert servers, and how much of the cores each of them has used.
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
  std::vector<std::string> node_flags;
  std::vector<std::string> all_flags;  // of nodes and expert servers, such as --weights
};

absl::StatusOr<std::unique_ptr<LocalCluster>> start_cluster(const ClusterForm& form);

// What all processes of a role have used so far.
double cpu_seconds(const LocalCluster& cluster, ClusterRole role);

}  // namespace conclave
