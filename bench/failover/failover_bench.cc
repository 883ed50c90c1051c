// How long clients see nothing when a server fails in mid-generation: one gateway, two attention
// nodes, three expert servers with every expert on exactly two of them, and streams of greedy
// requests.
//
//   kill expert    kill -9 of one expert server, which is then started again
//   hang expert    SIGSTOP of one, and SIGCONT after two seconds
//   kill node      kill -9 of one attention node, which is then started again
//
// What the stall of a stream is says bench/report/stall.h. Servers take turns; of the streams of
// one fault the longest stall counts as well, for whoever wants to know how bad a fault is at its
// worst.

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "bench/cluster/running_cluster.h"
#include "bench/cluster/token_stream.h"
#include "bench/limits/limits.h"
#include "bench/report/report.h"
#include "bench/report/stall.h"
#include "common/check.h"
#include "services/local/model_folder.h"

namespace conclave {
namespace {

constexpr int32_t kNodes = 2;
constexpr int32_t kServers = 3;

struct Flags {
  std::string model;
  std::string transport = "auto";
  std::vector<std::string> faults = {"expert-kill", "expert-hang", "node-kill"};
  int32_t count = 20;
  int32_t streams = 8;
  int32_t tokens = 400;
  int32_t threads = 1;
};

struct Stalls {
  std::vector<double> of_streams;
  std::vector<double> worst;
  int64_t num_failed = 0;
  int64_t num_short = 0;  // finished with fewer or more ids than asked for
};

class Faults {
 public:
  Faults(const Flags& flags, int32_t num_ids, LocalCluster* cluster)
      : flags_(flags), num_ids_(num_ids), cluster_(cluster) {}

  Stalls measure(const std::string& kind) {
    Stalls stalls;
    for (int32_t i = 0; i < flags_.count; ++i) measure_one(kind, i, &stalls);
    return stalls;
  }

 private:
  void measure_one(const std::string& kind, int32_t round, Stalls* stalls) {
    TokenStreams streams(cluster_->address());
    for (int32_t i = 0; i < flags_.streams; ++i) {
      streams.send(request_of({.num_prompt = 16,
                               .max_tokens = flags_.tokens,
                               .num_ids = num_ids_,
                               .seed = static_cast<uint64_t>(i)}));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(700 + round * 13 % 200));
    const BenchClock::time_point fault = BenchClock::now();
    inject(kind, round);
    const std::vector<TokenTimes> all = streams.take_all();
    double worst = 0;
    for (const TokenTimes& times : all) {
      stalls->num_failed += times.status.ok() ? 0 : 1;
      stalls->num_short += times.ids.size() == static_cast<size_t>(flags_.tokens) ? 0 : 1;
      const std::optional<double> stall = stall_of(times.ids, {.fault = fault});
      if (!stall) continue;
      stalls->of_streams.push_back(*stall);
      worst = std::max(worst, *stall);
    }
    stalls->worst.push_back(worst);
    CHECK(cluster_->wait_until_complete(kNodes, kServers, absl::Seconds(60)).ok());
    std::this_thread::sleep_for(std::chrono::seconds(1));  // it is asked again, and answers
  }

  void inject(const std::string& kind, int32_t round) {
    const bool is_node = kind == "node-kill";
    const ClusterRole role = is_node ? ClusterRole::kAttentionNode : ClusterRole::kExpertServer;
    const int32_t idx = round % (is_node ? kNodes : kServers);
    ChildProcess* const victim = cluster_->find(role, idx);
    if (kind == "expert-hang") {
      victim->signal(SIGSTOP);
      std::this_thread::sleep_for(std::chrono::seconds(2));
      victim->signal(SIGCONT);
      return;
    }
    victim->signal(SIGKILL);
    victim->wait(absl::InfiniteDuration());
    CHECK(cluster_->launch(role, idx).ok());
  }

  const Flags& flags_;
  const int32_t num_ids_;
  LocalCluster* const cluster_;
};

void add_single(const Report& report, const std::string& name, const std::string& metric,
                const std::string& unit, double value) {
  report.add({name, metric, unit, spread_of({value})});
}

void run(const Flags& flags) {
  const absl::StatusOr<ModelFolder> folder = read_model_folder(flags.model);
  CHECK(folder.ok());
  const Report report("failover");
  report_round_trips(report);
  auto cluster = start_cluster({.model = flags.model,
                                .transport = flags.transport,
                                .threads = flags.threads,
                                .attention_nodes = kNodes,
                                .expert_servers = kServers,
                                .min_replicas = 2});
  CHECK(cluster.ok());
  Faults faults(flags, folder->num_drawable_ids(), cluster->get());
  for (const std::string& kind : flags.faults) {
    const Stalls stalls = faults.measure(kind);
    report.add({kind, "stall of a stream", "s", spread_of(stalls.of_streams)});
    add_single(report, kind, "stall of a stream, p99", "s", percentile(stalls.of_streams, 0.99));
    report.add({kind, "longest stall of a fault", "s", spread_of(stalls.worst)});
    add_single(report, kind, "requests failed", "requests", static_cast<double>(stalls.num_failed));
    add_single(report, kind, "requests cut short", "requests",
               static_cast<double>(stalls.num_short));
  }
}

}  // namespace
}  // namespace conclave

int main(int argc, char** argv) {
  conclave::Flags flags;
  CLI::App app("What clients see of servers that fail");
  app.add_option("--model", flags.model, "Folder of the model")->required();
  app.add_option("--transport", flags.transport, "Of legs")
      ->check(CLI::IsMember({"auto", "grpc", "shm"}));
  app.add_option("--kinds", flags.faults, "Which faults")
      ->delimiter(',')
      ->check(CLI::IsMember({"expert-kill", "expert-hang", "node-kill"}));
  app.add_option("--count", flags.count, "Faults of each kind")->check(CLI::Range(1, 10000));
  app.add_option("--streams", flags.streams, "At a time")->check(CLI::Range(1, 1000));
  app.add_option("--tokens", flags.tokens, "Ids of each stream")->check(CLI::Range(20, 100000));
  app.add_option("--threads", flags.threads, "Of each process")->check(CLI::Range(1, 1024));
  CLI11_PARSE(app, argc, argv);
  conclave::run(flags);
  return 0;
}
