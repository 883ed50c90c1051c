// What a simulated cluster must keep, whatever fails in it (tests/simulation/sim_world.h says it):
//   - hundreds of seeds, each another cluster with other faults, keep every promise;
//   - a seed is the same world each time;
//   - the simulator sees when a promise is broken: every sabotage is noticed.

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "tests/simulation/simulate.h"

namespace conclave {
namespace {

constexpr uint64_t kSeedsPerTest = 25;

class SimulationTest : public testing::TestWithParam<uint64_t> {
 protected:
  void SetUp() override { report_seed_on_abort(); }
};

TEST_P(SimulationTest, KeepsEveryPromise) {
  const uint64_t first = GetParam() * kSeedsPerTest + 1;
  for (uint64_t seed = first; seed < first + kSeedsPerTest; ++seed) {
    const SimResult result = simulate(seed);
    ASSERT_TRUE(result.violations.empty()) << failure_report(result);
    ASSERT_GT(result.counts.num_answers, 0) << "seed " << seed << " tests nothing";
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, SimulationTest, testing::Range<uint64_t>(0, 12));

TEST(SimulationReplayTest, ASeedIsTheSameWorldEachTime) {
  for (const uint64_t seed : {1, 2, 3}) {
    const SimResult once = simulate(seed);
    const SimResult again = simulate(seed);
    EXPECT_EQ(once.lines, again.lines);
    EXPECT_EQ(once.hash, again.hash);
  }
  EXPECT_NE(simulate(1).hash, simulate(2).hash);
}

TEST(SimulationReplayTest, TheSeedsComeByEverythingThatGoesWrong) {
  SimCounts counts;
  for (uint64_t seed = 1; seed <= 2 * kSeedsPerTest; ++seed) counts.add(simulate(seed).counts);
  for (const CountName& name : count_names()) EXPECT_GT(counts.*name.count, 0) << name.name;
}

struct SabotageCase {
  Sabotage sabotage;
  std::string notice;  // part of what the simulator says
};

// Otherwise a test's parameter is printed as bytes.
void PrintTo(const SabotageCase& what, std::ostream* out) { *out << what.notice; }

class SabotageTest : public testing::TestWithParam<SabotageCase> {};

// In one of a few seeds, for not every world comes by the place where it would matter.
TEST_P(SabotageTest, IsNoticed) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    const SimResult result = simulate(seed, GetParam().sabotage);
    for (const std::string& violation : result.violations) {
      if (violation.find(GetParam().notice) != std::string::npos) return;
    }
  }
  FAIL() << "nobody said \"" << GetParam().notice << "\"";
}

INSTANTIATE_TEST_SUITE_P(All, SabotageTest,
                         testing::Values(SabotageCase{Sabotage::kWrongRow, "hears"},
                                         SabotageCase{Sabotage::kUnheldExpert, "which it lacks"},
                                         SabotageCase{Sabotage::kLostId, "hears id"},
                                         SabotageCase{Sabotage::kDoubledId, "hears id"},
                                         SabotageCase{Sabotage::kLostRequest, "never ends"},
                                         SabotageCase{Sabotage::kLeakedPage, "pages"}));

}  // namespace
}  // namespace conclave
