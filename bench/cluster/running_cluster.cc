#include "bench/cluster/running_cluster.h"

#include "absl/strings/str_cat.h"
#include "bench/report/cpu_time.h"

namespace conclave {
namespace {

// CMake names the folder of the programs.
constexpr char kBinDir[] = CONCLAVE_BIN_DIR;

void append(const std::vector<std::string>& more, std::vector<std::string>* flags) {
  flags->insert(flags->end(), more.begin(), more.end());
}

}  // namespace

absl::StatusOr<std::unique_ptr<LocalCluster>> start_cluster(const ClusterForm& form) {
  const std::vector<std::string> common = {"--log-level=error", "--metrics-listen=off",
                                           absl::StrCat("--threads=", form.threads)};
  LocalCluster::Options options{.bin_dir = kBinDir,
                                .model = form.model,
                                .attention_nodes = form.attention_nodes,
                                .expert_servers = form.expert_servers,
                                .min_replicas = form.min_replicas,
                                .routing = form.routing,
                                .transport = form.transport,
                                .gateway_flags = common,
                                .node_flags = common,
                                .expert_flags = common};
  append(form.node_flags, &options.node_flags);
  append(form.all_flags, &options.node_flags);
  append(form.all_flags, &options.expert_flags);
  return LocalCluster::start(std::move(options));
}

double cpu_seconds(const LocalCluster& cluster, ClusterRole role) {
  double seconds = 0;
  for (const LocalCluster::Process& process : cluster.processes()) {
    if (process.role == role) seconds += cpu_seconds(process.child->pid());
  }
  return seconds;
}

}  // namespace conclave
