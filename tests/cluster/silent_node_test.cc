// An attention node that hangs closes nothing, and its line to control may be alive while the one
// to the gateway is cut. What a cluster keeps then, without control's help:
//   - its requests go on at another node with the same ids, while it is still silent;
//   - it gets requests again once it answers.
// And a gateway that was itself away takes no node for silent.

#include <gtest/gtest.h>
#include <signal.h>

#include <array>

#include "absl/time/clock.h"
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

// The node is stopped so that a question to it is under way when the gateway is stopped, too, and
// its time is over when the gateway goes on. The node is back soon enough for the next question.
TEST_F(SilentNodeTest, AGatewayThatWasItselfAwayReplaysNothing) {
  const Generated expected = generate(cluster_->address(), request_of(300));
  const double replays = num_replays();
  const std::array<double, 2> before = {num_tokens(0), num_tokens(1)};
  const Generated result = generate_while(cluster_->address(), 300, [&] {
    ChildProcess* const busy = node(busy_node(before));
    ChildProcess* const gateway = cluster_->find(ClusterRole::kGateway, 0);
    busy->signal(SIGSTOP);
    absl::SleepFor(absl::Milliseconds(250));  // longer than a ping's interval, less than patience
    gateway->signal(SIGSTOP);
    absl::SleepFor(absl::Seconds(2));
    gateway->signal(SIGCONT);
    absl::SleepFor(absl::Milliseconds(100));
    busy->signal(SIGCONT);
  });
  EXPECT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_EQ(result.answer.ids, expected.answer.ids);
  absl::SleepFor(absl::Seconds(1));  // past the gateway's next tick
  EXPECT_EQ(num_replays(), replays);
}

}  // namespace
}  // namespace conclave
