// How a cluster serves requests that come when they come: an open loop through the gateway, with
// Poisson arrivals and mixed lengths, at rising rates until the cluster does not keep up; then a
// thousand streams at once.
//
//   R requests/s  time to the first token, time between tokens, what was answered of what was asked
//   knee          the last rate at which 99 % of the first tokens came within --goal seconds
//   N streams     all at once; every one has to end well
//
// CPU is of /proc/PID/stat: the gateway's, per 1,000 tokens, is what a frontend costs; the
// generator's own, so that one sees that it did not take the cores away from what it measures.

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "bench/cluster/running_cluster.h"
#include "bench/cluster/token_stream.h"
#include "bench/limits/limits.h"
#include "bench/report/cpu_time.h"
#include "bench/serve/serve_load.h"
#include "common/status_macros.h"
#include "common/thread_pool.h"
#include "services/local/model_folder.h"

namespace conclave {
namespace {

struct Flags {
  std::string model;
  std::string transport = "grpc";
  std::vector<double> rates = {1, 2, 4, 8, 16, 32};
  double seconds = 15;
  int32_t streams = 1000;
  int32_t stream_tokens = 32;
  int32_t max_running = 64;
  int32_t threads = 2;
  double goal = 1;  // seconds
  uint64_t seed = 1;
};

// CPU seconds of everybody at one moment.
struct CpuUse {
  double gateway = 0;
  double node = 0;
  double experts = 0;
  double generator = 0;
};

CpuUse cpu_use(const LocalCluster& cluster) {
  return {.gateway = cpu_seconds(cluster, ClusterRole::kGateway),
          .node = cpu_seconds(cluster, ClusterRole::kAttentionNode),
          .experts = cpu_seconds(cluster, ClusterRole::kExpertServer),
          .generator = cpu_seconds(getpid())};
}

void report_cpu(const Report& report, const std::string& name, const CpuUse& before,
                const CpuUse& after, int64_t num_tokens) {
  if (num_tokens == 0) return;
  const double per = 1000. / static_cast<double>(num_tokens);
  const auto add = [&](const std::string& who, double seconds) {
    report.add({name, who + " CPU per 1,000 tokens", "s", spread_of({seconds * per})});
  };
  add("gateway", after.gateway - before.gateway);
  add("attention node", after.node - before.node);
  add("expert servers", after.experts - before.experts);
  add("generator", after.generator - before.generator);
}

void report_served(const Report& report, const std::string& name, const Served& served) {
  const auto add = [&](const std::string& metric, const std::string& unit, double value) {
    report.add({name, metric, unit, spread_of({value})});
  };
  if (served.asked_rate > 0) add("asked", "tokens/s", served.asked_rate);
  add("answered", "tokens/s", served.answered_rate);
  add("failed", "requests", static_cast<double>(served.num_failed));
  add("most streams at once", "streams", served.most_open);
  if (served.num_failed == served.num_requests) return;
  add("first token p50", "s", served.first_token.p50);
  add("first token p99", "s", served.first_token.p99);
  add("between tokens p50", "s", served.between_tokens.p50);
  add("between tokens p99", "s", served.between_tokens.p99);
}

class ServeBench {
 public:
  ServeBench(const Flags& flags, const Report* report, const LocalCluster* cluster, int32_t num_ids)
      : flags_(flags),
        report_(*report),
        cluster_(*cluster),
        num_ids_(num_ids),
        streams_(cluster->address(), /*num_connections=*/4) {}

  bool keeps_up(double rate);
  void measure_crowd();

 private:
  Served measure(const std::string& name, const std::vector<Arrival>& arrivals);

  const Flags& flags_;
  const Report& report_;
  const LocalCluster& cluster_;
  const int32_t num_ids_;
  TokenStreams streams_;
};

Served ServeBench::measure(const std::string& name, const std::vector<Arrival>& arrivals) {
  const CpuUse before = cpu_use(cluster_);
  const BenchClock::time_point begin = BenchClock::now();
  int32_t most_open = 0;
  for (const Arrival& arrival : arrivals) {
    std::this_thread::sleep_until(begin + arrival.after);
    streams_.send(request_of(arrival.shape));
    most_open = std::max(most_open, streams_.num_open());
  }
  const std::vector<TokenTimes> times = streams_.take_all();
  const CpuUse after = cpu_use(cluster_);
  Served served = served_of(arrivals, times, begin);
  served.most_open = most_open;
  report_served(report_, name, served);
  report_cpu(report_, name, before, after, served.num_tokens);
  for (const TokenTimes& stream : times) {
    if (stream.status.ok()) continue;
    std::fprintf(stderr, "%s: %s\n", name.c_str(), stream.status.error_message().c_str());
    break;
  }
  return served;
}

bool ServeBench::keeps_up(double rate) {
  std::fprintf(stderr, "rate %g\n", rate);
  const std::vector<Arrival> arrivals = poisson_arrivals(
      {.rate = rate, .seconds = flags_.seconds, .num_ids = num_ids_, .seed = flags_.seed});
  const Served served = measure(absl::StrFormat("%g requests/s", rate), arrivals);
  return served.num_failed == 0 && served.first_token.p99 <= flags_.goal;
}

void ServeBench::measure_crowd() {
  std::fprintf(stderr, "%d streams at once\n", flags_.streams);
  std::vector<Arrival> arrivals;
  for (int32_t i = 0; i < flags_.streams; ++i) {
    arrivals.push_back({.shape = {.num_prompt = 8,
                                  .max_tokens = flags_.stream_tokens,
                                  .num_ids = num_ids_,
                                  .seed = static_cast<uint64_t>(i)}});
  }
  measure(absl::StrFormat("%d streams", flags_.streams), arrivals);
}

absl::Status run(const Flags& flags) {
  const Report report("serve");
  report_round_trips(report);
  ASSIGN_OR_RETURN(const ModelFolder folder, read_model_folder(flags.model));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<LocalCluster> cluster,
      start_cluster({.model = flags.model,
                     .transport = flags.transport,
                     .threads = flags.threads,
                     .node_flags = {absl::StrFormat("--max-running=%d", flags.max_running)}}));
  {
    ServeBench bench(flags, &report, cluster.get(), folder.num_drawable_ids());
    double knee = 0;
    int num_failed = 0;  // in a row: once may be a neighbour
    for (const double rate : flags.rates) {
      num_failed = bench.keeps_up(rate) ? 0 : num_failed + 1;
      if (num_failed == 0) knee = rate;
      if (num_failed == 2) break;
    }
    report.add({"knee", "last rate that was kept up with", "requests/s", spread_of({knee})});
    if (flags.streams > 0) bench.measure_crowd();
  }
  RETURN_IF_ERROR(cluster->stop(absl::Seconds(20)));
  ThreadPool pool(flags.threads);
  report_compute(report, measure_compute(&pool));
  return absl::OkStatus();
}

}  // namespace
}  // namespace conclave

int main(int argc, char** argv) {
  conclave::Flags flags;
  CLI::App app("An open loop of requests through a gateway");
  app.add_option("--model", flags.model, "Folder of the model")->required();
  app.add_option("--transport", flags.transport, "Of the rows between the processes");
  app.add_option("--rates", flags.rates, "Requests/s, rising")->delimiter(',');
  app.add_option("--seconds", flags.seconds, "Of arrivals at each rate")
      ->check(CLI::Range(1, 3600));
  app.add_option("--streams", flags.streams, "At once, at the end; 0: none")
      ->check(CLI::Range(0, 100'000));
  app.add_option("--stream-tokens", flags.stream_tokens, "Ids of each of them");
  app.add_option("--max-running", flags.max_running, "Of the attention node");
  app.add_option("--threads", flags.threads, "Of each process")->check(CLI::Range(1, 1024));
  app.add_option("--goal", flags.goal, "Seconds to the first token, of 99 % of the requests");
  app.add_option("--seed", flags.seed, "Of arrivals and lengths");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = conclave::run(flags);
  if (status.ok()) return 0;
  std::fprintf(stderr, "bench_serve: %s\n", status.ToString().c_str());
  return 1;
}
