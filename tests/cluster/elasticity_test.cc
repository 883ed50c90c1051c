// Expert servers that hold what control orders, and what a cluster keeps while they come and go,
// with both routing places:
//   - the experts of a server that is killed are loaded by others, and requests that waited for
//     them finish with the same ids: nobody has to start anything;
//   - so are those of one that hangs, and nobody waits for it longer than control does;
//   - from two servers to five and back under load: each newcomer takes a share over, each that is
//     told to go hands over what it alone has and ends well, and no request notices;
//   - a control role that is killed and comes back moves nothing;
//   - a server without room for anything says so and harms nobody.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/cluster/steady_load.h"
#include "tests/cluster/test_cluster.h"
#include "tests/support/golden.h"

namespace conclave {
namespace {

int64_t num_experts(const v1::ExpertSet& set) {
  int64_t count = 0;
  for (const v1::LayerExperts& layer : set.layers()) {
    for (const int32_t some : layer.count()) count += some;
  }
  return count;
}

constexpr int32_t kTiny = 7;  // the place of a server that has room for a few experts

class ElasticityTest : public testing::TestWithParam<std::string> {
 protected:
  void TearDown() override { EXPECT_TRUE(cluster_->stop(absl::Seconds(30)).ok()); }

  void start(int32_t servers, int32_t min_replicas, const std::vector<std::string>& flags = {}) {
    LocalCluster::Options options = cluster_of(golden_dir("bard"), 1, servers);
    options.routing = GetParam();
    options.min_replicas = min_replicas;
    options.managed = true;
    options.node_flags = options.gateway_flags = flags;
    options.own_flags = [](ClusterRole role, int32_t idx) -> std::vector<std::string> {
      if (role != ClusterRole::kExpertServer || idx != kTiny) return {};
      return {"--capacity=1MiB"};
    };
    cluster_ = start_cluster(std::move(options));
  }

  ChildProcess* server(int32_t i) { return cluster_->find(ClusterRole::kExpertServer, i); }

  // Every expert is held, each of `servers` servers has at least `least` of them, and none is on
  // its way.
  bool is_settled(int servers, int64_t least) {
    return eventually(absl::Seconds(60), [&] {
      const v1::GetStatusResponse status = status_of(cluster_->address());
      if (status.expert_servers_size() != servers) return false;
      for (const v1::ExpertServerStatus& server : status.expert_servers()) {
        if (server.num_to_load() > 0 || num_experts(server.held()) < least) return false;
      }
      return status.coverage().num_covered() == status.coverage().num_total() &&
             gateway_metric("conclave_placement_pending_experts") == 0;
    });
  }

  double gateway_metric(const std::string& name) {
    return scrape(cluster_->find(ClusterRole::kGateway, 0)->ready()->metrics).at(name);
  }
  double loads_of(int32_t i) {
    return scrape(server(i)->ready()->metrics).at("conclave_expert_loads_total");
  }

  std::unique_ptr<LocalCluster> cluster_;
};

TEST_P(ElasticityTest, TheLastHoldersExpertsAreLoadedElsewhere) {
  start(/*servers=*/2, /*min_replicas=*/1);
  const Generated expected = generate(cluster_->address(), request_of(200));
  const Generated result = generate_while(cluster_->address(), 200, [&] {
    server(1)->signal(SIGKILL);
    server(1)->wait(absl::InfiniteDuration());
  });
  EXPECT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_EQ(result.answer.ids, expected.answer.ids);
  EXPECT_TRUE(is_settled(1, 48));
  EXPECT_GE(loads_of(0), 1);
}

TEST_P(ElasticityTest, TheExpertsOfOneThatHangsAreLoadedElsewhere) {
  start(/*servers=*/2, /*min_replicas=*/1, {"--leg-timeout=3600"});
  const Generated expected = generate(cluster_->address(), request_of(200));
  const Generated result =
      generate_while(cluster_->address(), 200, [&] { server(1)->signal(SIGSTOP); });
  server(1)->signal(SIGCONT);
  EXPECT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_EQ(result.answer.ids, expected.answer.ids);
}

TEST_P(ElasticityTest, FromTwoServersToFiveAndBackUnderLoad) {
  start(/*servers=*/2, /*min_replicas=*/1);
  SteadyLoad load(cluster_->address(), /*num_threads=*/4, /*num_tokens=*/60);
  ASSERT_TRUE(load.goes_on(4));
  for (int32_t i = 2; i < 5; ++i) {
    ASSERT_TRUE(cluster_->launch(ClusterRole::kExpertServer, i).ok());
    ASSERT_TRUE(load.goes_on(4));
  }
  EXPECT_TRUE(is_settled(5, 5)) << "each newcomer takes a share";
  ASSERT_TRUE(load.goes_on(8));
  // The oldest too: what they began with is as much anybody's as the rest.
  for (const int32_t i : {0, 3, 1}) {
    server(i)->signal(SIGTERM);
    const auto exit = server(i)->wait(absl::Seconds(60));
    ASSERT_TRUE(exit.has_value()) << "server " << i << " does not go";
    EXPECT_TRUE(exit->clean()) << exit->to_string();
    ASSERT_TRUE(load.goes_on(4));
  }
  EXPECT_TRUE(is_settled(2, 20));
  ASSERT_TRUE(load.goes_on(8));
  load.stop();
}

TEST_P(ElasticityTest, AFurtherCopyIsMadeOfWhatIsLost) {
  start(/*servers=*/3, /*min_replicas=*/2);
  SteadyLoad load(cluster_->address(), /*num_threads=*/2, /*num_tokens=*/60);
  for (const int32_t i : {1, 2}) {
    ASSERT_TRUE(load.goes_on(4));
    server(i)->signal(SIGKILL);
    server(i)->wait(absl::InfiniteDuration());
    EXPECT_TRUE(is_settled(i == 1 ? 2 : 1, 48)) << "both that are left hold everything";
  }
  ASSERT_TRUE(load.goes_on(4));
  load.stop();
}

TEST_P(ElasticityTest, AServerWithoutRoomHarmsNobody) {
  start(/*servers=*/2, /*min_replicas=*/1);
  ASSERT_TRUE(cluster_->launch(ClusterRole::kExpertServer, kTiny).ok());
  EXPECT_TRUE(is_settled(3, 1)) << "it takes what it has room for";
  const v1::GetStatusResponse status = status_of(cluster_->address());
  for (const v1::ExpertServerStatus& server : status.expert_servers()) {
    EXPECT_LE(server.held_bytes(), server.capacity_bytes());
  }
  EXPECT_TRUE(generate(cluster_->address(), request_of(20)).status.ok());
}

INSTANTIATE_TEST_SUITE_P(Routing, ElasticityTest, testing::Values("local", "gateway"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace conclave
