// Contract C1 through clusters of real processes: the ids and logprobs of 32 mixed requests are
// those of the engine in one process, bit for bit, with two attention nodes, with 1, 2, 3 and 5
// expert servers, with both routing places, over gRPC and through shared memory, with whole steps
// and with halves, alone and together; and with rows out in fp8.

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "services/local/local_model.h"
#include "tests/cluster/test_cluster.h"
#include "tests/support/golden.h"
#include "tests/support/mixed_requests.h"

namespace conclave {
namespace {

// Expert servers, routing, transport, type of rows out; those back are bf16.
using Case = std::tuple<int32_t, const char*, const char*, const char*>;

class ClusterDeterminismTest : public testing::TestWithParam<Case> {
 protected:
  static void SetUpTestSuite() {
    auto folder = read_model_folder(golden_dir("bard"));
    ASSERT_TRUE(folder.ok()) << folder.status();
    requests_ = new std::vector<Request>(mixed_requests(folder->config.vocab_size));
    expected_ = new std::map<std::string, std::vector<Answer>>;
    for (const std::string wire : {"bf16", "fp8"}) {
      auto model = LocalModel::load(
          *folder,
          {.wire = *parse_dtype(wire), .max_running = kNumMixedRequests, .cache_tokens = 32 * 256},
          {});
      ASSERT_TRUE(model.ok()) << model.status();
      (*expected_)[wire] = conclave::run_requests(&(*model)->engine(), *requests_, Company::kAlone);
    }
    // Or clusters that take no notice of the flag would pass.
    size_t num_different = 0;
    for (size_t i = 0; i < requests_->size(); ++i) {
      if (first_difference(expected_->at("bf16")[i], expected_->at("fp8")[i])) ++num_different;
    }
    ASSERT_GT(num_different, requests_->size() / 2);
  }
  static void TearDownTestSuite() {
    delete expected_;
    delete requests_;
  }

  static std::vector<Request>* requests_;
  static std::map<std::string, std::vector<Answer>>* expected_;  // by the type of rows out
};

std::vector<Request>* ClusterDeterminismTest::requests_ = nullptr;
std::map<std::string, std::vector<Answer>>* ClusterDeterminismTest::expected_ = nullptr;

// By this way alone, as whoever routes has counted them.
void expect_legs_went(const LocalCluster& cluster, const std::string& routing,
                      const std::string& transport) {
  const ClusterRole router =
      routing == "local" ? ClusterRole::kAttentionNode : ClusterRole::kGateway;
  const auto metrics = scrape(cluster.find(router, 0)->ready()->metrics);
  for (const char* const way : {"grpc", "shm"}) {
    const double rows =
        metrics.at(absl::StrCat("conclave_leg_rows_total{transport=\"", way, "\"}"));
    EXPECT_EQ(rows > 0, way == transport) << way << ": " << rows;
  }
}

// Every routing place and every transport meets each of them.
const char* overlap_of(int32_t servers) {
  switch (servers) {
    case 1:
      return "off";
    case 3:
      return "auto";
    default:
      return "on";
  }
}

void expect_halves(const LocalCluster& cluster, const std::string& overlap) {
  double halved = 0;
  double all = 0;
  double waited = 0;
  for (const int32_t node : {0, 1}) {
    const auto metrics = scrape(cluster.find(ClusterRole::kAttentionNode, node)->ready()->metrics);
    halved += metrics.at("conclave_node_halved_steps_total");
    all += metrics.at("conclave_node_step_seconds_count");
    waited += metrics.at("conclave_node_leg_wait_seconds_total");
  }
  if (overlap != "auto") {
    EXPECT_EQ(halved > 0, overlap == "on");
  }
  EXPECT_LT(halved, all) << "a request that decodes alone makes steps of one row";
  EXPECT_GT(waited, 0);
}

TEST_P(ClusterDeterminismTest, SameBitsAsOneProcess) {
  const auto [servers, routing, transport, wire_out] = GetParam();
  const std::vector<Answer>& expected = expected_->at(wire_out);
  LocalCluster::Options options = cluster_of(golden_dir("bard"), /*nodes=*/2, servers);
  options.routing = routing;
  options.transport = transport;
  options.node_flags.push_back("--prefill-chunk=64");
  for (auto* const flags : {&options.gateway_flags, &options.node_flags}) {
    flags->push_back(absl::StrCat("--wire-out=", wire_out));
  }
  options.node_flags.push_back(absl::StrCat("--overlap=", overlap_of(servers)));
  const auto cluster = start_cluster(std::move(options));
  for (const Company company : {Company::kTogether, Company::kAlone}) {
    const std::vector<Answer> answers =
        conclave::run_requests(cluster->address(), *requests_, company);
    ASSERT_EQ(answers.size(), expected.size());
    for (size_t i = 0; i < answers.size(); ++i) {
      const auto difference = first_difference(answers[i], expected[i]);
      EXPECT_FALSE(difference.has_value()) << "request " << i << ": " << *difference;
    }
  }
  expect_legs_went(*cluster, routing, transport);
  expect_halves(*cluster, overlap_of(servers));
  // Both nodes and all servers had their part, or the test shows nothing.
  const v1::GetStatusResponse status = status_of(cluster->address());
  EXPECT_TRUE(status.exact());
  EXPECT_TRUE(eventually(absl::Seconds(10), [&] {
    const v1::GetStatusResponse now = status_of(cluster->address());
    int num_busy = 0;
    for (const auto& node : now.nodes()) num_busy += node.load().num_tokens() > 0 ? 1 : 0;
    for (const auto& server : now.expert_servers()) {
      int64_t picks = 0;
      for (const int64_t some : server.load().picks()) picks += some;
      num_busy += picks > 0 ? 1 : 0;
    }
    return num_busy == 2 + servers;
  }));
  EXPECT_TRUE(cluster->stop(absl::Seconds(20)).ok());
}

std::string case_name(const testing::TestParamInfo<Case>& info) {
  const auto [servers, routing, transport, wire_out] = info.param;
  return absl::StrCat("servers", servers, "_", routing, "_", transport, "_", wire_out);
}

INSTANTIATE_TEST_SUITE_P(Clusters, ClusterDeterminismTest,
                         testing::Combine(testing::Values(1, 2, 3, 5),
                                          testing::Values("local", "gateway"),
                                          testing::Values("grpc", "shm"), testing::Values("bf16")),
                         case_name);

INSTANTIATE_TEST_SUITE_P(Fp8, ClusterDeterminismTest,
                         testing::Values(Case{3, "local", "grpc", "fp8"},
                                         Case{3, "local", "shm", "fp8"},
                                         Case{2, "gateway", "shm", "fp8"}),
                         case_name);

}  // namespace
}  // namespace conclave
