// A cluster that nobody asks anything costs less than 1 % of a core. Not a time limit but a share:
// loops that poll show as tens of percent. It runs alone, for neighbours make every wake-up dearer.

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

#include "absl/time/clock.h"
#include "tests/cluster/test_cluster.h"
#include "tests/support/golden.h"

namespace conclave {
namespace {

// User and system time so far: the 14th and 15th word of stat, of which the second may have spaces.
double cpu_seconds(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  std::istringstream words(text.substr(text.rfind(')') + 1));
  std::string skipped;
  for (int i = 0; i < 11; ++i) words >> skipped;
  double user = 0;
  double system = 0;
  words >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

TEST(Idle, CostsLessThanAHundredthOfACore) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers have threads of their own";
#endif
  const auto cluster = start_cluster(cluster_of(golden_dir("bard"), 1, 2));
  Request request{.prompt = {5, 17, 40, 99, 7}};
  request.sampling.max_tokens = 5;
  EXPECT_TRUE(generate(cluster->address(), to_message(request)).status.ok());
  absl::SleepFor(absl::Seconds(1));
  const auto total = [&] {
    double seconds = 0;
    for (const auto& process : cluster->processes()) seconds += cpu_seconds(process.child->pid());
    return seconds;
  };
  const absl::Time start = absl::Now();
  const double before = total();
  absl::SleepFor(absl::Seconds(10));
  const double share = (total() - before) / absl::ToDoubleSeconds(absl::Now() - start);
  EXPECT_LT(share, 0.01);
}

}  // namespace
}  // namespace conclave
