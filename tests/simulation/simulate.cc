#include "tests/simulation/simulate.h"

#include <csignal>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace conclave {
namespace {

constexpr size_t kNumLastLines = 40;

const SimWorld* world_under_way = nullptr;
uint64_t seed_under_way = 0;

std::string how_to_replay(uint64_t seed) {
  return absl::StrFormat("replay: ./dev simulate --seeds %d..%d --verbose\n", seed, seed);
}

std::string last_lines(const std::vector<std::string>& lines) {
  std::string text;
  const size_t first = lines.size() > kNumLastLines ? lines.size() - kNumLastLines : 0;
  for (size_t i = first; i < lines.size(); ++i) absl::StrAppend(&text, lines[i], "\n");
  return text;
}

// Not safe in a signal in general; here it is abort()'s, in a program that has nothing to lose.
void on_abort(int) {
  if (world_under_way == nullptr) return;
  std::fprintf(stderr, "%sseed %llu stopped in the middle\n%s",
               last_lines(world_under_way->log().lines()).c_str(),
               static_cast<unsigned long long>(seed_under_way),
               how_to_replay(seed_under_way).c_str());
}

}  // namespace

SimResult simulate(uint64_t seed, Sabotage sabotage) {
  const Scenario scenario = make_scenario(seed);
  SimWorld world(&scenario, sabotage);
  world_under_way = &world;
  seed_under_way = seed;
  world.run();
  world_under_way = nullptr;
  return {.seed = seed,
          .hash = world.log().hash(),
          .counts = world.counts(),
          .violations = world.log().violations(),
          .lines = world.log().lines()};
}

std::string failure_report(const SimResult& result) {
  std::string text = last_lines(result.lines);
  absl::StrAppend(&text, "seed ", result.seed, " has ", result.violations.size(), " violations:\n");
  for (const std::string& violation : result.violations) absl::StrAppend(&text, violation, "\n");
  return text + how_to_replay(result.seed);
}

void report_seed_on_abort() { std::signal(SIGABRT, on_abort); }

}  // namespace conclave
