#include "bench/report/report.h"

#include <algorithm>
#include <cstdio>
#include <fstream>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/check.h"
#include "common/usable_cores.h"
#include "kernels/instruction_class.h"
#include "nlohmann/json.hpp"

namespace conclave {
namespace {

using Json = nlohmann::ordered_json;

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::string load_average() {
  std::ifstream file("/proc/loadavg");
  std::string minute;
  file >> minute;
  return minute;
}

void print(const Json& line) {
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

}  // namespace

Spread spread_of(std::vector<double> runs) {
  CHECK(!runs.empty());
  std::sort(runs.begin(), runs.end());
  const size_t middle = runs.size() / 2;
  const double median =
      runs.size() % 2 == 1 ? runs[middle] : 0.5 * (runs[middle - 1] + runs[middle]);
  return {.median = median,
          .lowest = runs.front(),
          .highest = runs.back(),
          .num_runs = static_cast<int>(runs.size())};
}

Spread spread_of_ratios(const std::vector<double>& above, const std::vector<double>& below) {
  CHECK(above.size() == below.size());
  std::vector<double> ratios;
  for (size_t i = 0; i < above.size(); ++i) ratios.push_back(above[i] / below[i]);
  return spread_of(std::move(ratios));
}

Report::Report(std::string_view bench) : bench_(bench) {
  const std::string_view instructions = instruction_class_name(instruction_class());
  print({{"bench", bench_},
         {"machine",
          {{"time", absl::FormatTime(absl::RFC3339_sec, absl::Now(), absl::UTCTimeZone())},
           {"cpu", cpu_name()},
           {"cores", num_usable_cores()},
           {"instructions", std::string(instructions)},
           {"vnni", static_cast<bool>(__builtin_cpu_supports("avx512vnni"))},
           {"load", load_average()}}}});
}

void Report::add(const Figure& figure) const {
  print({{"bench", bench_},
         {"case", figure.name},
         {"metric", figure.metric},
         {"unit", figure.unit},
         {"median", figure.spread.median},
         {"lowest", figure.spread.lowest},
         {"highest", figure.spread.highest},
         {"runs", figure.spread.num_runs}});
}

}  // namespace conclave
