// A short chaos run of each transport. Whatever fails under load, one thing after the other:
//   - no request is aborted, cut short, doubled or changed in any bit;
//   - the cluster is whole again after each fault, and when the last request is over nothing runs
//     and no page of a cache is held.
// How long anything takes is nobody's business here: `./dev chaos --minutes N` looks at that.

#include <gtest/gtest.h>

#include <set>

#include "tests/chaos/chaos_run.h"
#include "tests/support/golden.h"

namespace conclave {
namespace {

class ChaosTest : public testing::TestWithParam<std::string> {};

TEST_P(ChaosTest, EveryAnswerIsAsWithoutFaults) {
  std::vector<std::string> names = {"expert-kill", "expert-stop", "node-kill"};
  if (GetParam() == "grpc") {
    names.insert(names.end(), {"leg-reset", "leg-corrupt", "leg-half-open", "node-reset",
                               "control-reset", "client-reset"});
  }
  const size_t num_faults = names.size() < 4 ? 2 * names.size() : names.size();  // whole rounds
  const auto faults = choose_faults(names, GetParam());
  ASSERT_TRUE(faults.ok()) << faults.status();
  ChaosOptions options{.cluster = {.model = golden_dir("bard"),
                                   .transport = GetParam(),
                                   .proxied = lines_of(*faults)},
                       .faults = *faults,
                       .time = absl::Minutes(10),
                       .settle = absl::Milliseconds(300),
                       .clients = 4,
                       .most_tokens = 150};
  size_t num_begun = 0;
  options.give_up = [&] { return num_begun++ == num_faults; };
  const auto result = run_chaos(options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->status.ok()) << result->status;
  for (const std::string& complaint : complaints(*result)) ADD_FAILURE() << complaint;
  std::set<std::string> happened;
  for (const FaultRecord& fault : result->faults) happened.insert(fault.kind->name);
  EXPECT_EQ(happened.size(), names.size());
  EXPECT_FALSE(result->streams.empty());
}

INSTANTIATE_TEST_SUITE_P(Transports, ChaosTest, testing::Values("grpc", "shm"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace conclave
