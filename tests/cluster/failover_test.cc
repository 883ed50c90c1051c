// Every expert on exactly two of three servers, and what a cluster keeps while they fail, over both
// transports and with both routing places:
//   - a server that is killed in mid-generation costs no request, no id and no bit; when it is back
//     another may go, and so on round and round;
//   - neither does one that hangs without closing anything, nor one that comes back from that;
//   - what happened is in the metrics;
//   - with the last holder gone requests wait, and finish with the same ids when one is back.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <tuple>

#include "tests/cluster/steady_load.h"
#include "tests/cluster/test_cluster.h"
#include "tests/support/golden.h"

namespace conclave {
namespace {

constexpr int32_t kServers = 3;

class FailoverTest : public testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  void SetUp() override {
    LocalCluster::Options options = cluster_of(golden_dir("bard"), 1, kServers);
    std::tie(options.transport, options.routing) = GetParam();
    options.min_replicas = 2;
    cluster_ = start_cluster(std::move(options));
  }

  ChildProcess* server(int32_t i) { return cluster_->find(ClusterRole::kExpertServer, i); }

  void kill_server(int32_t i) {
    server(i)->signal(SIGKILL);
    server(i)->wait(absl::InfiniteDuration());
  }
  void bring_back(int32_t i, int32_t num_servers = kServers) {
    ASSERT_TRUE(cluster_->launch(ClusterRole::kExpertServer, i).ok());
    const absl::Status complete = cluster_->wait_until_complete(1, num_servers, absl::Seconds(60));
    ASSERT_TRUE(complete.ok()) << complete;
  }

  // Of whoever routes, over all transports.
  double count(const std::string& name) {
    const bool at_gateway = std::get<1>(GetParam()) == "gateway";
    const ClusterRole role = at_gateway ? ClusterRole::kGateway : ClusterRole::kAttentionNode;
    double sum = 0;
    for (const auto& [series, value] : scrape(cluster_->find(role, 0)->ready()->metrics)) {
      if (series.rfind(name + "{", 0) == 0) sum += value;
    }
    return sum;
  }

  std::unique_ptr<LocalCluster> cluster_;
};

TEST_P(FailoverTest, KilledServersCostNothing) {
  SteadyLoad load(cluster_->address(), /*num_threads=*/4, /*num_tokens=*/60);
  for (int round = 0; round < 4; ++round) {
    ASSERT_TRUE(load.goes_on(4));
    kill_server(round % kServers);
    ASSERT_TRUE(load.goes_on(8)) << "server " << round % kServers << " is missed";
    bring_back(round % kServers);
  }
  load.stop();
  EXPECT_GE(load.num_finished(), 48);
}

TEST_P(FailoverTest, AServerThatHangsIsPassedBy) {
  SteadyLoad load(cluster_->address(), /*num_threads=*/4, /*num_tokens=*/60);
  ASSERT_TRUE(load.goes_on(8));
  server(1)->signal(SIGSTOP);
  ASSERT_TRUE(load.goes_on(8));
  EXPECT_GE(count("conclave_leg_moves_total") + count("conclave_leg_hedges_total"), 1);
  server(1)->signal(SIGCONT);
  ASSERT_TRUE(load.goes_on(8));
  server(2)->signal(SIGSTOP);
  ASSERT_TRUE(load.goes_on(8));
  server(2)->signal(SIGCONT);
  load.stop();
}

TEST_P(FailoverTest, WithTheLastHolderGoneRequestsWait) {
  const Generated expected = generate(cluster_->address(), request_of(150));
  const Generated result = generate_while(cluster_->address(), 150, [&] {
    kill_server(0);
    kill_server(1);
    bring_back(1, /*num_servers=*/2);
  });
  EXPECT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_EQ(result.answer.ids, expected.answer.ids);
}

INSTANTIATE_TEST_SUITE_P(Ways, FailoverTest,
                         testing::Combine(testing::Values("grpc", "shm"),
                                          testing::Values("local", "gateway")),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_" + std::get<1>(info.param);
                         });

}  // namespace
}  // namespace conclave
