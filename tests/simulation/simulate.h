// One seed from its beginning to what became of it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/simulation/sim_world.h"

namespace conclave {

struct SimResult {
  uint64_t seed = 0;
  uint64_t hash = 0;  // of the log: two runs of a seed have the same
  SimCounts counts;
  std::vector<std::string> violations;
  std::vector<std::string> lines;  // the whole log
};

SimResult simulate(uint64_t seed, Sabotage sabotage = Sabotage::kNone);

// The violations, the last lines before them and the command that replays the seed.
std::string failure_report(const SimResult& result);

// From now on a CHECK that fails names the seed under way and its last lines.
void report_seed_on_abort();

}  // namespace conclave
