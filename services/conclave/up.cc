// `conclave up`: a cluster of processes on this machine, until somebody wants it to end.

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "common/thread_pool.h"
#include "nlohmann/json.hpp"
#include "services/conclave/commands.h"
#include "services/conclave/flags.h"
#include "services/launch/local_cluster.h"
#include "services/server/stop_signal.h"

namespace conclave {
namespace {

constexpr absl::Duration kLook = absl::Milliseconds(200);

struct UpFlags {
  std::string model;
  int32_t attention_nodes = 1;
  int32_t expert_servers = 2;
  int32_t min_replicas = 1;
  int32_t port = 0;
  std::string routing = "local";
  std::string transport = "auto";
  std::string state;
  std::string log_dir;
  std::string wire = "bf16";
  std::string cache_dtype = "bf16";
  int32_t cache_tokens = 65536;
  int32_t prefill_chunk = 512;
  std::string instructions = "auto";
  WeightsFlag weights;
  double drain_timeout_seconds = 10;
};

// The programs lie beside this one.
absl::StatusOr<std::string> bin_dir() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return absl::InternalError(absl::StrCat("/proc/self/exe: ", error.message()));
  return self.parent_path().string();
}

LocalCluster::Options cluster_options(const UpFlags& flags, const std::string& dir) {
  const std::string quiet = flags.log_dir.empty() ? "--log-level=error" : "--log-level=info";
  const std::vector<std::string> common = {
      quiet, absl::StrCat("--instructions=", flags.instructions),
      absl::StrCat("--drain-timeout=", flags.drain_timeout_seconds)};
  LocalCluster::Options options{.bin_dir = dir,
                                .model = flags.model,
                                .attention_nodes = flags.attention_nodes,
                                .expert_servers = flags.expert_servers,
                                .min_replicas = flags.min_replicas,
                                .managed = true,
                                .port = flags.port,
                                .routing = flags.routing,
                                .transport = flags.transport,
                                .log_dir = flags.log_dir,
                                .gateway_flags = common,
                                .node_flags = common,
                                .expert_flags = common};
  const std::string weights = absl::StrCat("--weights=", flags.weights.text);
  options.node_flags.push_back(weights);
  options.expert_flags.push_back(weights);
  const std::string out = absl::StrCat("--wire-out=", flags.wire);
  const std::string back_type(dtype_name(reply_type_for(*parse_dtype(flags.wire))));
  const std::string back = absl::StrCat("--wire-back=", back_type);
  for (auto* const who : {&options.gateway_flags, &options.node_flags}) {
    who->insert(who->end(), {out, back});
  }
  options.node_flags.insert(options.node_flags.end(),
                            {absl::StrCat("--cache-dtype=", flags.cache_dtype),
                             absl::StrCat("--cache-tokens=", flags.cache_tokens),
                             absl::StrCat("--prefill-chunk=", flags.prefill_chunk)});
  // Expert servers work while the node waits for them, and all of them at once.
  const int32_t threads = std::max(1, num_usable_cores() / std::max(1, flags.expert_servers));
  options.expert_flags.push_back(absl::StrCat("--threads=", threads));
  return options;
}

// A line for each process when it serves, and one that is rewritten while they load.
class ProgressLines {
 public:
  void show(const LocalCluster& cluster) {
    std::string loading;
    for (const LocalCluster::Process& process : cluster.processes()) {
      const ChildProcess& child = *process.child;
      const std::string name = absl::StrCat(std::string(role_name(process.role)), " ", process.idx);
      if (child.ready()) {
        if (!told_.insert(name).second) continue;
        clear();
        std::fprintf(stderr, "%-18s pid %-8d %-22s metrics http://%s/metrics\n", name.c_str(),
                     child.pid(), child.ready()->address.c_str(), child.ready()->metrics.c_str());
      } else if (child.progress().total_bytes > 0) {
        absl::StrAppendFormat(&loading, "  %s %d%%", name,
                              100 * child.progress().done_bytes / child.progress().total_bytes);
      }
    }
    if (isatty(STDERR_FILENO) == 0 || loading.empty()) return;
    clear();
    std::fprintf(stderr, "loading%s", loading.c_str());
    shown_ = true;
  }

  void clear() {
    if (shown_) std::fputs("\r\x1b[K", stderr);
    shown_ = false;
  }

 private:
  std::set<std::string> told_;
  bool shown_ = false;
};

absl::Status file_error(const std::string& path) {
  return absl::InvalidArgumentError(absl::StrCat("--state ", path, ": ", std::strerror(errno)));
}

// Whole or not at all: whoever waits for the file must not read half of it.
absl::Status write_state(const LocalCluster& cluster, const std::string& path) {
  nlohmann::json processes = nlohmann::json::array();
  for (const LocalCluster::Process& process : cluster.processes()) {
    processes.push_back({{"role", std::string(role_name(process.role))},
                         {"pid", process.child->pid()},
                         {"address", process.child->ready()->address},
                         {"metrics", process.child->ready()->metrics}});
  }
  const std::string text = nlohmann::json{{"processes", processes}}.dump(2) + "\n";
  const std::string part = absl::StrCat(path, ".", getpid(), ".part");
  std::FILE* const file = std::fopen(part.c_str(), "w");
  if (file == nullptr) return file_error(part);
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const bool closed = std::fclose(file) == 0;
  if (!written || !closed || std::rename(part.c_str(), path.c_str()) != 0) return file_error(path);
  return absl::OkStatus();
}

// Until the end is asked for. Dead servers are told of and left: the cluster goes on without them
// as well as it can, which is what people want to see.
absl::Status watch(const LocalCluster& cluster, StopSignal* stop) {
  std::set<pid_t> told;
  while (!stop->wait(kLook)) {
    for (const LocalCluster::Process& process : cluster.processes()) {
      const std::optional<ExitState> exit = process.child->exit_state();
      if (!exit || !told.insert(process.child->pid()).second) continue;
      std::fprintf(stderr, "%s %d (pid %d) ended with %s\n",
                   std::string(role_name(process.role)).c_str(), process.idx, process.child->pid(),
                   exit->to_string().c_str());
      if (process.role == ClusterRole::kGateway) {
        return absl::AbortedError("the gateway is gone, so the cluster is");
      }
    }
  }
  return absl::OkStatus();
}

absl::Status up(const UpFlags& flags) {
  if (flags.min_replicas > flags.expert_servers) {
    return absl::InvalidArgumentError(absl::StrCat("--min-replicas ", flags.min_replicas,
                                                   " cannot be had of --expert-servers ",
                                                   flags.expert_servers));
  }
  StopSignal stop;
  ASSIGN_OR_RETURN(const std::string dir, bin_dir());
  LocalCluster::Options options = cluster_options(flags, dir);
  ProgressLines lines;
  options.on_progress = [&](const LocalCluster& cluster) { lines.show(cluster); };
  bool asked = false;
  options.give_up = [&] { return asked = asked || stop.wait(absl::ZeroDuration()); };
  absl::StatusOr<std::unique_ptr<LocalCluster>> cluster = LocalCluster::start(std::move(options));
  lines.clear();
  if (!cluster.ok()) return asked ? absl::OkStatus() : cluster.status();
  lines.show(**cluster);
  if (!flags.state.empty()) RETURN_IF_ERROR(write_state(**cluster, flags.state));
  std::fprintf(stderr, "ready: conclave generate --server %s --prompt ...   (Ctrl-C stops all)\n",
               (*cluster)->address().c_str());
  const absl::Status watched = watch(**cluster, &stop);
  std::fputs("stopping\n", stderr);
  if (!flags.state.empty()) std::remove(flags.state.c_str());
  const absl::Status stopped = (*cluster)->stop(absl::Seconds(flags.drain_timeout_seconds + 5));
  return watched.ok() ? stopped : watched;
}

}  // namespace

Command add_up(CLI::App* parent) {
  auto flags = std::make_shared<UpFlags>();
  CLI::App* const app = parent->add_subcommand("up", "Run a cluster of processes on this machine");
  add_model_option(app, "--model", &flags->model);
  app->add_option("--attention-nodes", flags->attention_nodes, "How many")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app->add_option("--expert-servers", flags->expert_servers,
                  "How many; server i of n holds the i-th part of each layer's experts")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app->add_option("--min-replicas", flags->min_replicas,
                  "Servers that hold each expert: all but one of them may be lost")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app->add_option("--port", flags->port, "Of the gateway on 127.0.0.1; 0: any that is free")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  app->add_option("--transport", flags->transport, "How legs travel: auto, grpc or shm")
      ->check(CLI::IsMember({"auto", "grpc", "shm"}))
      ->capture_default_str();
  app->add_option("--routing", flags->routing, "Where rows are routed to experts: local or gateway")
      ->check(CLI::IsMember({"local", "gateway"}))
      ->capture_default_str();
  app->add_option("--state", flags->state,
                  "File that gets the processes as JSON once all are ready; removed at the end");
  app->add_option("--log-dir", flags->log_dir,
                  "Folder that gets each process's log; default: errors alone, on stderr")
      ->check(CLI::ExistingDirectory);
  app->add_option("--wire", flags->wire,
                  "Type of rows between attention and experts, both ways; fp8: out, bf16 back")
      ->check(CLI::IsMember({"f32", "bf16", "fp8"}))
      ->capture_default_str();
  app->add_option("--cache-dtype", flags->cache_dtype, "Type of the latent caches")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  app->add_option("--cache-tokens", flags->cache_tokens, "Tokens that each node's cache holds")
      ->check(CLI::Range(1, INT32_MAX - 64))
      ->capture_default_str();
  app->add_option("--prefill-chunk", flags->prefill_chunk, "Most prompt tokens of one step")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app->add_option("--instructions", flags->instructions,
                  "Kernels to use: avx2 gives the bits of an AVX2 machine anywhere")
      ->check(CLI::IsMember({"auto", "avx2", "avx512"}))
      ->capture_default_str();
  flags->weights.add_to(app);
  app->add_option("--drain-timeout", flags->drain_timeout_seconds,
                  "Seconds that requests under way may take when the cluster is stopped")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  return {app, [flags] { return up(*flags); }};
}

}  // namespace conclave
