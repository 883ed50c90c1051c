// simulate --seeds A..B: runs worlds and says which of them break a promise.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <string>

#include "tests/simulation/simulate.h"

namespace {

// "17" or "17..40".
bool parse_seeds(const std::string& text, uint64_t* first, uint64_t* last) {
  unsigned long long a = 0;
  unsigned long long b = 0;
  int end = 0;
  if (std::sscanf(text.c_str(), "%llu..%llu%n", &a, &b, &end) != 2) {
    if (std::sscanf(text.c_str(), "%llu%n", &a, &end) != 1) return false;
    b = a;
  }
  *first = a;
  *last = b;
  return a <= b && static_cast<size_t>(end) == text.size();
}

void print(const conclave::SimResult& result) {
  for (const std::string& line : result.lines) std::printf("%s\n", line.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Simulated clusters in which everything fails, one per seed.");
  std::string seeds = "1..200";
  bool verbose = false;
  bool keep_going = false;
  app.add_option("--seeds", seeds, "which ones, A..B or one alone")->capture_default_str();
  app.add_flag("--verbose", verbose, "print everything that happens");
  app.add_flag("--keep-going", keep_going, "go on after a seed that fails");
  CLI11_PARSE(app, argc, argv);

  uint64_t first = 0;
  uint64_t last = 0;
  if (!parse_seeds(seeds, &first, &last)) {
    std::fprintf(stderr, "--seeds takes A..B, not %s\n", seeds.c_str());
    return 2;
  }
  conclave::report_seed_on_abort();
  conclave::SimCounts total;
  int num_failed = 0;
  for (uint64_t seed = first; seed <= last && (num_failed == 0 || keep_going); ++seed) {
    const conclave::SimResult result = conclave::simulate(seed);
    if (verbose) print(result);
    total.add(result.counts);
    if (result.violations.empty()) continue;
    ++num_failed;
    std::fprintf(stderr, "%s", conclave::failure_report(result).c_str());
  }
  for (const conclave::CountName& name : conclave::count_names()) {
    std::printf("%-24s %lld\n", name.name, static_cast<long long>(total.*name.count));
  }
  std::printf("of the seeds %s %d failed\n", seeds.c_str(), num_failed);
  return num_failed == 0 ? 0 : 1;
}
