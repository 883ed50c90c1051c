#include "tests/chaos/chaos_cluster.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "services/server/address.h"
#include "tests/chaos/loopback.h"
#include "tests/cluster/test_cluster.h"

namespace conclave {
namespace {

// Below the ports that the kernel gives away, so that a server which is started again finds its
// own.
constexpr int32_t kFirstPort = 20'000;
constexpr int32_t kNumPorts = 10'000;
constexpr absl::Duration kPatience = absl::Minutes(2);

bool is_free(int32_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback_address(port);
  const bool bound = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return bound;
}

}  // namespace

std::string ChaosCluster::line_to(ClusterRole role, int32_t idx) {
  return absl::StrCat(std::string(role_name(role)), "-", idx);
}

std::string ChaosCluster::control_line_of(ClusterRole role, int32_t idx) {
  return absl::StrCat("control of ", line_to(role, idx));
}

absl::StatusOr<std::unique_ptr<ChaosCluster>> ChaosCluster::start(const Options& options) {
  std::unique_ptr<ChaosCluster> chaos(new ChaosCluster());
  chaos->log_dir_ = new_log_dir();
  chaos->next_port_ = kFirstPort + static_cast<int32_t>(getpid()) % kNumPorts;
  chaos->proxied_ = options.proxied;
  if (options.proxied.any()) chaos->proxy_ = std::make_unique<FaultProxy>(options.seed);
  LocalCluster::Options local =
      cluster_of(options.model, options.attention_nodes, options.expert_servers);
  local.log_dir = chaos->log_dir_;
  local.min_replicas = 2;
  local.managed = true;
  local.gateway_flags = {"--spare-experts=0"};  // every expert on exactly two
  local.routing = options.routing;
  local.transport = options.transport;
  local.node_flags = local.expert_flags = {absl::StrCat("--threads=", options.threads)};
  const auto append = [](const std::vector<std::string>& more, std::vector<std::string>* flags) {
    flags->insert(flags->end(), more.begin(), more.end());
  };
  local.node_flags.push_back(absl::StrCat("--prefill-chunk=", options.prefill_chunk));
  append(options.gateway_flags, &local.gateway_flags);
  append(options.all_flags, &local.node_flags);
  append(options.all_flags, &local.expert_flags);
  local.own_flags = [c = chaos.get()](ClusterRole role, int32_t idx) {
    return c->own_flags(role, idx);
  };
  local.own_control = [c = chaos.get()](ClusterRole role, int32_t idx, const std::string& address) {
    return c->own_control(role, idx, address);
  };
  chaos->other_bin_dir_ = options.other_bin_dir;
  local.own_bin_dir = [c = chaos.get()](ClusterRole role, int32_t idx) {
    return c->own_bin_dir(role, idx);
  };
  auto cluster = LocalCluster::start(std::move(local));
  if (!cluster.ok()) {
    return absl::Status(cluster.status().code(),
                        absl::StrCat(cluster.status().message(), "; logs in ", chaos->log_dir_));
  }
  chaos->cluster_ = *std::move(cluster);
  if (options.proxied.of_clients) {
    ASSIGN_OR_RETURN(const HostPort gateway, parse_host_port(chaos->address()));
    ASSIGN_OR_RETURN(chaos->client_address_, chaos->proxy_->add_link(kClientLines, gateway.port));
  }
  return chaos;
}

// A place keeps its port and its line for as long as the cluster lives.
std::vector<std::string> ChaosCluster::own_flags(ClusterRole role, int32_t idx) {
  if (!proxied_.to_servers || role == ClusterRole::kGateway) return {};
  std::vector<std::string>& flags = flags_of_[line_to(role, idx)];
  if (!flags.empty()) return flags;
  while (!is_free(next_port_)) ++next_port_;
  const auto line = proxy_->add_link(line_to(role, idx), next_port_);
  CHECK(line.ok());
  flags = {absl::StrCat("--listen=127.0.0.1:", next_port_++),
           absl::StrCat("--advertise-address=", *line)};
  return flags;
}

std::string ChaosCluster::own_control(ClusterRole role, int32_t idx, const std::string& address) {
  if (!proxied_.to_control) return "";
  const std::string name = control_line_of(role, idx);
  std::string& control = control_of_[name];
  if (!control.empty()) return control;
  const auto gateway = parse_host_port(address);
  CHECK(gateway.ok());
  const auto line = proxy_->add_link(name, gateway->port);
  CHECK(line.ok());
  return control = *line;
}

std::string ChaosCluster::own_bin_dir(ClusterRole role, int32_t idx) {
  if (role == ClusterRole::kGateway) return "";
  const int turn = num_launches_[line_to(role, idx)]++;
  return (turn + idx) % 2 == 0 ? "" : other_bin_dir_;
}

std::vector<int32_t> ChaosCluster::places(ClusterRole role) const {
  std::vector<int32_t> places;
  for (const LocalCluster::Process& process : cluster_->processes()) {
    if (process.role == role) places.push_back(process.idx);
  }
  std::sort(places.begin(), places.end());
  return places;
}

absl::Status ChaosCluster::wait_until_whole() {
  const auto count = [this](ClusterRole role) { return static_cast<int32_t>(places(role).size()); };
  return cluster_->wait_until_complete(count(ClusterRole::kAttentionNode),
                                       count(ClusterRole::kExpertServer), kPatience);
}

absl::Status ChaosCluster::resize(int32_t count) {
  std::vector<int32_t> there = places(ClusterRole::kExpertServer);
  while (static_cast<int32_t>(there.size()) < count) {
    there.push_back(there.back() + 1);
    RETURN_IF_ERROR(cluster_->launch(ClusterRole::kExpertServer, there.back()));
  }
  RETURN_IF_ERROR(wait_until_whole());
  while (static_cast<int32_t>(there.size()) > count) {
    RETURN_IF_ERROR(cluster_->remove(ClusterRole::kExpertServer, there.back(), kPatience));
    there.pop_back();
  }
  return wait_until_whole();
}

std::string ChaosCluster::problem() const {
  std::string problem;
  for (const LocalCluster::Process& process : cluster_->processes()) {
    const std::optional<ExitState> exit = process.child->exit_state();
    if (!exit) continue;
    absl::StrAppend(&problem, problem.empty() ? "" : "; ", line_to(process.role, process.idx),
                    " ended with ", exit->to_string());
  }
  return problem;
}

absl::Status ChaosCluster::wait_until_idle() {
  std::string busy;
  for (const absl::Time end = absl::Now() + absl::Seconds(30); absl::Now() < end;
       absl::SleepFor(absl::Milliseconds(100))) {
    const v1::GetStatusResponse status = status_of(address());
    busy =
        absl::StrCat(status.num_queued(), " requests queued, ", status.num_assigned(), " at nodes");
    bool is_idle = status.num_queued() == 0 && status.num_assigned() == 0;
    for (const v1::NodeStatus& node : status.nodes()) {
      const v1::NodeLoad& load = node.load();
      const int32_t running = load.num_running() + load.num_waiting() + load.num_stalled();
      const int32_t num_held = load.num_pages() - load.num_free_pages();
      is_idle = is_idle && running == 0 && num_held == 0;
      absl::StrAppend(&busy, "; ", node.server_id(), ": ", running, " requests, ", num_held,
                      " pages held");
    }
    if (is_idle) return absl::OkStatus();
  }
  return absl::InternalError(absl::StrCat("after the last request: ", busy));
}

}  // namespace conclave
