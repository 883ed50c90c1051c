// What a cluster costs beside one process: tokens/s of batches through one gateway, one attention
// node and two expert servers, each with all the threads that the one process has, on the same
// cores.
//
// Every round measures each way once, one after the other, and ratios are of the same round. A
// rate is of the ids between the last stream's first and the first stream's last, when all run.
// CPU is of all processes, prompts included; neighbours, who give many threads a larger part of the
// cores than few, move it less than the rate.
//
// A way is a transport, and `+gateway` where rows are routed there: grpc, shm, grpc+gateway.

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "bench/cluster/running_cluster.h"
#include "bench/cluster/token_stream.h"
#include "bench/limits/limits.h"
#include "bench/report/cpu_time.h"
#include "common/status_macros.h"
#include "services/conclave/flags.h"
#include "services/local/local_model.h"

namespace conclave {
namespace {

constexpr int32_t kPromptIds = 16;

struct Flags {
  std::string model;
  std::vector<std::string> ways = {"grpc"};
  std::vector<int32_t> batches = {1, 8, 32};
  int32_t rounds = 5;
  int32_t tokens = 48;
  int32_t threads = 2;
  std::string weights;  // empty: as stored
};

std::vector<std::string> weight_flags(const Flags& flags) {
  if (flags.weights.empty()) return {};
  return {absl::StrCat("--weights=", flags.weights)};
}

struct Measured {
  double rate = 0;         // tokens/s
  double cpu_seconds = 0;  // of 1,000 tokens
};

int64_t num_tokens(const std::vector<RequestShape>& shapes) {
  int64_t sum = 0;
  for (const RequestShape& shape : shapes) sum += shape.max_tokens;
  return sum;
}

double cpu_seconds_of_all(const LocalCluster& cluster) {
  double seconds = 0;
  for (const LocalCluster::Process& process : cluster.processes()) {
    seconds += cpu_seconds(process.child->pid());
  }
  return seconds;
}

absl::StatusOr<double> rate_of(const std::vector<TokenTimes>& streams) {
  BenchClock::time_point begin = BenchClock::time_point::min();
  BenchClock::time_point end = BenchClock::time_point::max();
  for (const TokenTimes& stream : streams) {
    if (!stream.status.ok()) return absl::UnavailableError(stream.status.error_message());
    if (stream.ids.empty()) return absl::InternalError("a stream without an id");
    begin = std::max(begin, stream.ids.front());
    end = std::min(end, stream.ids.back());
  }
  if (end <= begin) return absl::InternalError("the streams were never all running");
  int64_t count = 0;
  for (const TokenTimes& stream : streams) {
    for (const BenchClock::time_point time : stream.ids) count += time > begin && time <= end;
  }
  return static_cast<double>(count) / std::chrono::duration<double>(end - begin).count();
}

// --- the one process

class TimesObserver final : public RequestObserver {
 public:
  explicit TimesObserver(TokenTimes* times) : times_(times) {}
  void on_token(const GeneratedToken&) override { times_->ids.push_back(BenchClock::now()); }
  void on_finished(const Finish& finish) override {
    if (finish.status.ok()) return;
    times_->status = grpc::Status(grpc::StatusCode::INTERNAL, finish.status.ToString());
  }

 private:
  TokenTimes* const times_;
};

absl::StatusOr<Measured> measure_process(Engine* engine, const std::vector<RequestShape>& shapes) {
  const double cpu_before = cpu_seconds(getpid());
  std::vector<TokenTimes> times(shapes.size());
  std::vector<std::unique_ptr<TimesObserver>> observers;
  for (size_t i = 0; i < shapes.size(); ++i) {
    observers.push_back(std::make_unique<TimesObserver>(&times[i]));
    Request request{.id = RequestId{i}, .prompt = prompt_of(shapes[i])};
    request.sampling = {.temperature = 0.f, .max_tokens = shapes[i].max_tokens};
    request.observer = observers.back().get();
    RETURN_IF_ERROR(engine->submit(std::move(request)));
  }
  while (engine->step()) {
  }
  const double cpu = cpu_seconds(getpid()) - cpu_before;
  ASSIGN_OR_RETURN(const double rate, rate_of(times));
  return Measured{.rate = rate, .cpu_seconds = cpu * 1000 / num_tokens(shapes)};
}

// The engine's own flags, so that what a server takes the process takes too.
absl::StatusOr<LocalModel::Options> process_options(const ModelFolder& folder, const Flags& flags) {
  RuntimeFlags runtime;
  CLI::App app;
  runtime.add_to(&app);
  std::vector<std::string> args = weight_flags(flags);
  args.push_back(absl::StrCat("--threads=", flags.threads));
  try {
    app.parse(std::move(args));
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(error.what());
  }
  ASSIGN_OR_RETURN(LocalModel::Options options, runtime.resolve(folder.config, 512));
  const int32_t batch = *std::max_element(flags.batches.begin(), flags.batches.end());
  options.max_running = batch;
  options.cache_tokens = batch * (kPromptIds + flags.tokens + 64);
  return options;
}

// In this process, which is idle while clusters are measured.
absl::StatusOr<std::unique_ptr<LocalModel>> load_process(const ModelFolder& folder,
                                                         const Flags& flags) {
  ASSIGN_OR_RETURN(const LocalModel::Options options, process_options(folder, flags));
  return LocalModel::load(folder, options, {});
}

// --- the ways

struct Way {
  std::string name;
  std::unique_ptr<LocalCluster> cluster;
  std::unique_ptr<TokenStreams> streams;
};

absl::StatusOr<Way> start_way(const std::string& name, const Flags& flags) {
  const bool at_gateway = absl::EndsWith(name, "+gateway");
  ClusterForm form{.model = flags.model,
                   .transport = std::string(absl::StripSuffix(name, "+gateway")),
                   .routing = at_gateway ? "gateway" : "local",
                   .threads = flags.threads,
                   .all_flags = weight_flags(flags)};
  Way way{.name = name};
  ASSIGN_OR_RETURN(way.cluster, start_cluster(form));
  way.streams = std::make_unique<TokenStreams>(way.cluster->address());
  return way;
}

absl::StatusOr<Measured> measure_way(Way* way, const std::vector<RequestShape>& shapes) {
  const double cpu_before = cpu_seconds_of_all(*way->cluster);
  for (const RequestShape& shape : shapes) way->streams->send(request_of(shape));
  const std::vector<TokenTimes> times = way->streams->take_all();
  const double cpu = cpu_seconds_of_all(*way->cluster) - cpu_before;
  ASSIGN_OR_RETURN(const double rate, rate_of(times));
  return Measured{.rate = rate, .cpu_seconds = cpu * 1000 / num_tokens(shapes)};
}

// Round by round, of a way and a batch.
struct Series {
  std::vector<double> rates;
  std::vector<double> cpu_seconds;

  void add(const Measured& measured) {
    rates.push_back(measured.rate);
    cpu_seconds.push_back(measured.cpu_seconds);
  }
};
using Speeds = std::map<std::pair<std::string, int32_t>, Series>;

void report_pair(const Report& report, const std::string& name, const std::string& pair,
                 const Series& above, const Series& below) {
  report.add({name, pair, "ratio", spread_of_ratios(above.rates, below.rates)});
  report.add(
      {name, "CPU, " + pair, "ratio", spread_of_ratios(above.cpu_seconds, below.cpu_seconds)});
}

void report_way(const Report& report, const std::string& name, const std::string& way,
                const Series& series) {
  report.add({name, way, "tokens/s", spread_of(series.rates)});
  report.add({name, "CPU per 1,000 tokens, " + way, "s", spread_of(series.cpu_seconds)});
}

void report_all(const Report& report, const Flags& flags, const Speeds& speeds) {
  for (const int32_t batch : flags.batches) {
    const std::string name = absl::StrCat("batch ", batch);
    const Series& process = speeds.at({"process", batch});
    report_way(report, name, "one process", process);
    const std::string& first = flags.ways[0];
    for (const std::string& way : flags.ways) {
      const Series& of_way = speeds.at({way, batch});
      report_way(report, name, way, of_way);
      report_pair(report, name, way + " / one process", of_way, process);
      if (way == first) continue;
      report_pair(report, name, absl::StrCat(way, " / ", first), of_way, speeds.at({first, batch}));
    }
  }
}

absl::Status measure_round(const Flags& flags, int32_t num_ids, Engine* engine,
                           std::vector<Way>* ways, Speeds* speeds) {
  for (const int32_t batch : flags.batches) {
    std::vector<RequestShape> shapes;
    for (int32_t i = 0; i < batch; ++i) {
      shapes.push_back({.num_prompt = kPromptIds,
                        .max_tokens = flags.tokens,
                        .num_ids = num_ids,
                        .seed = static_cast<uint64_t>(i)});
    }
    ASSIGN_OR_RETURN(const Measured process, measure_process(engine, shapes));
    (*speeds)[{"process", batch}].add(process);
    for (Way& way : *ways) {
      ASSIGN_OR_RETURN(const Measured measured, measure_way(&way, shapes));
      (*speeds)[{way.name, batch}].add(measured);
    }
  }
  return absl::OkStatus();
}

absl::Status run(const Flags& flags) {
  const Report report("cluster");
  report_round_trips(report);
  ASSIGN_OR_RETURN(const ModelFolder folder, read_model_folder(flags.model));
  std::vector<Way> ways;
  for (const std::string& name : flags.ways) {
    ASSIGN_OR_RETURN(Way way, start_way(name, flags));
    ways.push_back(std::move(way));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<LocalModel> process, load_process(folder, flags));
  Speeds speeds;
  for (int32_t round = 0; round < flags.rounds; ++round) {
    std::fprintf(stderr, "round %d of %d\n", round + 1, flags.rounds);
    RETURN_IF_ERROR(
        measure_round(flags, folder.num_drawable_ids(), &process->engine(), &ways, &speeds));
  }
  report_all(report, flags, speeds);
  for (Way& way : ways) {
    way.streams.reset();
    RETURN_IF_ERROR(way.cluster->stop(absl::Seconds(10)));
  }
  ThreadPool pool(flags.threads);
  report_compute(report, measure_compute(&pool));
  return absl::OkStatus();
}

}  // namespace
}  // namespace conclave

int main(int argc, char** argv) {
  conclave::Flags flags;
  CLI::App app("A cluster beside one process");
  app.add_option("--model", flags.model, "Folder of the model")->required();
  app.add_option("--ways", flags.ways, "Transports, +gateway for routing there")->delimiter(',');
  app.add_option("--batches", flags.batches, "Streams at a time")->delimiter(',');
  app.add_option("--rounds", flags.rounds, "How often each is measured")->check(CLI::Range(1, 99));
  app.add_option("--tokens", flags.tokens, "Ids of each stream")->check(CLI::Range(8, 1024));
  app.add_option("--threads", flags.threads, "Of each process")->check(CLI::Range(1, 1024));
  app.add_option("--weights", flags.weights, "As of the servers; default: as stored");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = conclave::run(flags);
  if (status.ok()) return 0;
  std::fprintf(stderr, "bench_cluster: %s\n", status.ToString().c_str());
  return 1;
}
