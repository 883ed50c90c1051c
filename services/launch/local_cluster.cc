#include "services/launch/local_cluster.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "proto/control.grpc.pb.h"

namespace conclave {
namespace {

constexpr absl::Duration kLook = absl::Milliseconds(20);
constexpr absl::Duration kStartTimeout = absl::Hours(2);  // large checkpoints load from slow disks

}  // namespace

std::string_view role_name(ClusterRole role) {
  switch (role) {
    case ClusterRole::kGateway:
      return "gateway";
    case ClusterRole::kAttentionNode:
      return "attention_node";
    case ClusterRole::kExpertServer:
      return "expert_server";
  }
  return "?";
}

absl::StatusOr<std::unique_ptr<LocalCluster>> LocalCluster::start(Options options) {
  std::unique_ptr<LocalCluster> cluster(new LocalCluster(std::move(options)));
  RETURN_IF_ERROR(cluster->launch(ClusterRole::kGateway, 0));
  RETURN_IF_ERROR(cluster->wait_until_serving(kStartTimeout));
  cluster->address_ = cluster->processes_.front().child->ready()->address;
  for (int32_t i = 0; i < cluster->options_.expert_servers; ++i) {
    RETURN_IF_ERROR(cluster->launch(ClusterRole::kExpertServer, i));
  }
  for (int32_t i = 0; i < cluster->options_.attention_nodes; ++i) {
    RETURN_IF_ERROR(cluster->launch(ClusterRole::kAttentionNode, i));
  }
  RETURN_IF_ERROR(cluster->wait_until_serving(kStartTimeout));
  RETURN_IF_ERROR(cluster->wait_until_complete(
      cluster->options_.attention_nodes, cluster->options_.expert_servers, absl::Seconds(60)));
  return cluster;
}

LocalCluster::~LocalCluster() { static_cast<void>(stop(absl::ZeroDuration())); }

ChildProcess* LocalCluster::find(ClusterRole role, int32_t idx) const {
  for (const Process& process : processes_) {
    if (process.role == role && process.idx == idx) return process.child.get();
  }
  return nullptr;
}

absl::Status LocalCluster::launch(ClusterRole role, int32_t idx) {
  const std::string name(role_name(role));
  const std::string own_dir = options_.own_bin_dir(role, idx);
  const std::string& dir = own_dir.empty() ? options_.bin_dir : own_dir;
  ChildProcess::Options options{.program = absl::StrCat(dir, "/", name),
                                .args = args_of(role, idx)};
  if (!options_.log_dir.empty()) {
    options.log_file = absl::StrCat(options_.log_dir, "/", name, "-", idx, ".log");
  }
  ASSIGN_OR_RETURN(std::unique_ptr<ChildProcess> child, ChildProcess::start(options));
  for (Process& process : processes_) {
    if (process.role != role || process.idx != idx) continue;
    process.child = std::move(child);
    return absl::OkStatus();
  }
  processes_.push_back({.role = role, .idx = idx, .child = std::move(child)});
  return absl::OkStatus();
}

absl::Status LocalCluster::remove(ClusterRole role, int32_t idx, absl::Duration patience) {
  const auto place = std::find_if(
      processes_.begin(), processes_.end(),
      [&](const Process& process) { return process.role == role && process.idx == idx; });
  if (place == processes_.end()) {
    return absl::NotFoundError(absl::StrCat("no ", std::string(role_name(role)), " ", idx));
  }
  place->child->signal(SIGTERM);
  const std::optional<ExitState> exit = place->child->wait(patience);
  processes_.erase(place);
  if (exit && exit->clean()) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(std::string(role_name(role)), " ", idx, " ended with ",
                                          exit ? exit->to_string() : "nothing in time"));
}

std::vector<std::string> LocalCluster::args_of(ClusterRole role, int32_t idx) const {
  std::vector<std::string> args = {absl::StrCat("--model=", options_.model)};
  const std::string name = absl::StrCat("--server-id=", std::string(role_name(role)), "-", idx);
  const std::string own_control =
      role == ClusterRole::kGateway ? "" : options_.own_control(role, idx, address_);
  const std::string control =
      absl::StrCat("--control=", own_control.empty() ? address_ : own_control);
  const std::string transport = absl::StrCat("--transport=", options_.transport);
  const std::vector<std::string>* more = nullptr;
  switch (role) {
    case ClusterRole::kGateway:
      args.push_back(absl::StrCat("--listen=127.0.0.1:", options_.port));
      args.push_back(absl::StrCat("--routing=", options_.routing));
      args.push_back(transport);
      args.push_back(absl::StrCat("--min-replicas=", options_.min_replicas));
      more = &options_.gateway_flags;
      break;
    case ClusterRole::kAttentionNode:
      args.insert(args.end(),
                  {name, control, absl::StrCat("--routing=", options_.routing), transport});
      more = &options_.node_flags;
      break;
    case ClusterRole::kExpertServer:
      args.insert(args.end(), {name, control, absl::StrCat("--experts=", experts_of(idx))});
      more = &options_.expert_flags;
      break;
  }
  args.insert(args.end(), more->begin(), more->end());
  const std::vector<std::string> own = options_.own_flags(role, idx);
  args.insert(args.end(), own.begin(), own.end());
  return args;
}

// Its own part of each layer's experts and those of the servers behind it, round and round.
std::string LocalCluster::experts_of(int32_t idx) const {
  const int32_t num_servers = options_.expert_servers;
  if (options_.managed && idx >= num_servers) return "auto";
  std::vector<std::string> parts;
  for (int32_t i = 0; i < options_.min_replicas; ++i) {
    parts.push_back(absl::StrCat((idx + i) % num_servers, "/", num_servers));
  }
  return absl::StrCat(options_.managed ? "auto:" : "", absl::StrJoin(parts, ";"));
}

absl::Status LocalCluster::check_alive() const {
  for (const Process& process : processes_) {
    const std::optional<ExitState> exit = process.child->exit_state();
    if (!exit) continue;
    return absl::AbortedError(absl::StrCat(std::string(role_name(process.role)), " ", process.idx,
                                           " (pid ", process.child->pid(), ") ended with ",
                                           exit->to_string(), "; its log says why"));
  }
  return absl::OkStatus();
}

absl::Status LocalCluster::wait_until_serving(absl::Duration timeout) {
  for (const absl::Time end = absl::Now() + timeout; absl::Now() < end; absl::SleepFor(kLook)) {
    bool all = true;
    for (const Process& process : processes_) {
      process.child->poll();
      all = all && process.child->ready().has_value();
    }
    options_.on_progress(*this);
    if (all) return absl::OkStatus();
    RETURN_IF_ERROR(check_alive());
    if (options_.give_up()) return absl::CancelledError("asked to stop");
  }
  return absl::DeadlineExceededError("the cluster did not come up");
}

absl::Status LocalCluster::wait_until_complete(int32_t nodes, int32_t servers,
                                               absl::Duration timeout) {
  const auto stub =
      v1::Control::NewStub(grpc::CreateChannel(address_, grpc::InsecureChannelCredentials()));
  v1::GetStatusResponse status;
  std::string error;
  for (const absl::Time end = absl::Now() + timeout; absl::Now() < end; absl::SleepFor(kLook)) {
    for (const Process& process : processes_) process.child->poll();
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
    const grpc::Status answer = stub->GetStatus(&context, {}, &status);
    error = answer.error_message();
    const v1::Coverage& coverage = status.coverage();
    if (answer.ok() && status.nodes_size() == nodes && status.expert_servers_size() == servers &&
        coverage.num_covered() == coverage.num_total()) {
      return absl::OkStatus();
    }
    if (options_.give_up()) return absl::CancelledError("asked to stop");
  }
  return absl::DeadlineExceededError(absl::StrCat(
      "of ", nodes, " attention nodes and ", servers, " expert servers, ", status.nodes_size(),
      " and ", status.expert_servers_size(), " are registered, with ",
      status.coverage().num_covered(), " of ", status.coverage().num_total(), " experts; ", error));
}

absl::Status LocalCluster::stop(absl::Duration patience) {
  std::string bad;
  for (const ClusterRole role :
       {ClusterRole::kGateway, ClusterRole::kAttentionNode, ClusterRole::kExpertServer}) {
    stop_group(role, absl::Now() + patience, &bad);
  }
  processes_.clear();
  return bad.empty() ? absl::OkStatus() : absl::InternalError(bad);
}

void LocalCluster::stop_group(ClusterRole role, absl::Time end, std::string* bad) {
  std::vector<Process*> group;
  for (Process& process : processes_) {
    if (process.role == role && !process.child->exit_state()) group.push_back(&process);
  }
  for (Process* const process : group) process->child->signal(SIGTERM);
  for (Process* const process : group) {
    std::optional<ExitState> exit = process->child->wait(end - absl::Now());
    if (!exit) {
      process->child->signal(SIGKILL);
      exit = process->child->wait(absl::InfiniteDuration());
    }
    if (exit->clean()) continue;
    absl::StrAppend(bad, bad->empty() ? "" : "; ", std::string(role_name(role)), " ", process->idx,
                    " ended with ", exit->to_string());
  }
}

}  // namespace conclave
