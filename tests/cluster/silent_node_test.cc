// An attention node that hangs closes nothing, and its line to control may be alive while the one
// to the gateway is cut. What a cluster keeps then, without control's help:
//   - its requests go on at another node with the same ids, while it is still silent;
//   - it gets requests again once it answers.

#include <gtest/gtest.h>
#include <signal.h>

#include <array>

#include "tests/cluster/test_cluster.h"
#include "tests/support/golden.h"

namespace conclave {
namespace {

class SilentNodeTest : public testing::Test {
 protected:
  void SetUp() override {
    LocalCluster::Options options = cluster_of(golden_dir("bard"), 2, 2);
    options.gateway_flags = {"--heartbeat=60"};  // control notices nothing
    cluster_ = start_cluster(std::move(options));
  }

  ChildProcess* node(int32_t i) { return cluster_->find(ClusterRole::kAttentionNode, i); }

  // Counted by every step; the gauges of what runs are of the last second.
  double num_tokens(int32_t i) {
    return scrape(node(i)->ready()->metrics).at("conclave_node_tokens_total");
  }

  // As of the gateway's last tick.
  double num_replays() {
    return scrape(cluster_->find(ClusterRole::kGateway, 0)->ready()->metrics)
        .at("conclave_replays_total");
  }

  // The one that has the only request.
  int32_t busy_node(const std::array<double, 2>& before) {
    const auto runs = [&](int32_t i) { return num_tokens(i) > before.at(i); };
    EXPECT_TRUE(eventually(absl::Seconds(20), [&] { return runs(0) || runs(1); }));
    return runs(0) ? 0 : 1;
  }

  std::unique_ptr<LocalCluster> cluster_;
};

TEST_F(SilentNodeTest, ItsRequestsGoOnElsewhereAndItIsTakenBack) {
  const Generated expected = generate(cluster_->address(), request_of(300));
  const std::array<double, 2> before = {num_tokens(0), num_tokens(1)};
  int32_t silent = 0;
  const Generated result = generate_while(cluster_->address(), 300, [&] {
    silent = busy_node(before);
    node(silent)->signal(SIGSTOP);
  });
  EXPECT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_EQ(result.answer.ids, expected.answer.ids);
  EXPECT_TRUE(eventually(absl::Seconds(5), [&] { return num_replays() >= 1; }));

  node(silent)->signal(SIGCONT);
  node(1 - silent)->signal(SIGKILL);
  const Generated again = generate(cluster_->address(), request_of(300));
  EXPECT_TRUE(again.status.ok()) << again.status.error_message();
  EXPECT_EQ(again.answer.ids, expected.answer.ids);
}

}  // namespace
}  // namespace conclave
