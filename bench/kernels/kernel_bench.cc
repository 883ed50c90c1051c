#include "bench/kernels/kernel_bench.h"

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "common/check.h"

namespace conclave {
namespace {

std::unique_ptr<Report> the_report;  // of this process, from run_kernel_bench() on

class LineReporter final : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }

  // All repetitions of one case.
  void ReportRuns(const std::vector<Run>& runs) override {
    std::map<std::string, std::vector<double>> values;
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration || run.error_occurred) continue;
      values["time"].push_back(run.GetAdjustedRealTime() * 1e-6);  // cases are in microseconds
      for (const auto& [name, counter] : run.counters) values[name].push_back(counter.value);
    }
    for (auto& [metric, of_runs] : values) {
      the_report->add({.name = runs.front().benchmark_name(),
                       .metric = metric,
                       .unit = unit_of(metric),
                       .spread = spread_of(std::move(of_runs))});
    }
  }

 private:
  static std::string unit_of(const std::string& metric) {
    if (metric == "time") return "s";
    return metric.starts_with("of ") ? "share" : metric + "/s";
  }
};

}  // namespace

const ComputeLimits& limits_of(ThreadPool* pool) {
  static std::map<int32_t, ComputeLimits> known;
  const int32_t threads = pool->num_threads();
  if (known.contains(threads)) return known[threads];
  known[threads] = measure_compute(pool);
  const std::string of = threads == 1 ? " of 1 thread" : " of " + std::to_string(threads);
  the_report->add({"limit", "read" + of, "bytes/s", known[threads].read});
  the_report->add({"limit", "f32 FMA" + of, "flop/s", known[threads].flops});
  return known[threads];
}

void report_work(const WorkDone& done, const ComputeLimits& limits, benchmark::State* state) {
  using benchmark::Counter;
  const auto rate = [](double value) { return Counter(value, Counter::kIsIterationInvariantRate); };
  state->counters["bytes"] = rate(done.bytes);
  state->counters["flop"] = rate(done.flops);
  state->counters["of read limit"] = rate(done.bytes / limits.read.highest);
  state->counters["of FMA limit"] = rate(done.flops / limits.flops.highest);
}

void add_kernel_case(const std::string& name, int32_t num_threads,
                     std::function<void(benchmark::State&)> run) {
  auto* const bench = benchmark::RegisterBenchmark(name.c_str(), std::move(run));
  bench->Unit(benchmark::kMicrosecond);
  if (num_threads > 1) bench->UseRealTime();
}

int run_kernel_bench(const std::string& name, int argc, char** argv) {
  static char repetitions[] = "--benchmark_repetitions=5";
  static char min_time[] = "--benchmark_min_time=0.1";
  std::vector<char*> args(argv, argv + argc);
  args.insert(args.begin() + 1, {repetitions, min_time});  // what is given comes later and wins
  int count = static_cast<int>(args.size());
  args.push_back(nullptr);
  benchmark::Initialize(&count, args.data());
  if (benchmark::ReportUnrecognizedArguments(count, args.data())) return 2;
  the_report = std::make_unique<Report>(name);
  LineReporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  return 0;
}

}  // namespace conclave
