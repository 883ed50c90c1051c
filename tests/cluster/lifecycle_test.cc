// What a cluster keeps while its clients and its servers come and go:
//   - 1,000 clients that vanish in mid-stream leave nothing behind: every page is free again;
//   - 200 concurrent requests on a cache that holds a few of them all finish, with the ids of a run
//     without crowding;
//   - an expert server that is missing, late or restarted is waited for: requests finish with the
//     same ids, and status names what is missing meanwhile;
//   - a request's deadline ends its waiting, and says what it waited for;
//   - an attention node that is killed costs no request and no id: the gateway goes on elsewhere.

#include <gmock/gmock.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <thread>

#include "tests/cluster/test_cluster.h"
#include "tests/support/golden.h"

namespace conclave {
namespace {

using testing::HasSubstr;

Request greedy(int32_t num_tokens, int32_t first_id) {
  Request request{.prompt = {first_id, 17, 40, 99, 7}};
  request.sampling.temperature = 0;
  request.sampling.max_tokens = num_tokens;
  return request;
}

std::string metrics_of(const LocalCluster& cluster, ClusterRole role, int32_t idx) {
  return cluster.find(role, idx)->ready()->metrics;
}

// All pages of attention node 0 are free, and it has no request.
bool node_is_empty(const LocalCluster& cluster) {
  const auto metrics = scrape(metrics_of(cluster, ClusterRole::kAttentionNode, 0));
  return metrics.at("conclave_node_cache_free_pages") == metrics.at("conclave_node_cache_pages") &&
         metrics.at("conclave_node_running_requests") == 0 &&
         metrics.at("conclave_node_waiting_requests") == 0;
}

TEST(Lifecycle, ClientsThatVanishLeaveNothingBehind) {
  const auto cluster = start_cluster(cluster_of(golden_dir("bard"), 1, 2));
  constexpr int kNumThreads = 8;
  constexpr int kClientsEach = 125;
  std::atomic<int> num_heard{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kNumThreads; ++t) {
    threads.emplace_back([&, t] {
      const auto stub = v1::Inference::NewStub(channel_to(cluster->address()));
      for (int i = 0; i < kClientsEach; ++i) {
        grpc::ClientContext context;
        const auto reader = stub->Generate(&context, to_message(greedy(4000, 1 + t)));
        v1::GenerateResponse response;
        // Some go before the first token, some after a few.
        for (int k = 0; k < i % 4 && reader->Read(&response); ++k) ++num_heard;
        context.TryCancel();
        EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(num_heard, kNumThreads * kClientsEach / 2);
  EXPECT_TRUE(eventually(absl::Seconds(30), [&] { return node_is_empty(*cluster); }));
  EXPECT_TRUE(eventually(absl::Seconds(5), [&] {  // gauges are of the last tick
    const auto gateway = scrape(metrics_of(*cluster, ClusterRole::kGateway, 0));
    return gateway.at("conclave_assigned_requests") == 0 &&
           gateway.at("conclave_queued_requests") == 0;
  }));
  EXPECT_TRUE(generate(cluster->address(), to_message(greedy(5, 3))).status.ok());
}

TEST(Lifecycle, ManyRequestsOnATinyCacheAllFinish) {
  LocalCluster::Options options = cluster_of(golden_dir("bard"), 1, 2);
  options.node_flags.insert(options.node_flags.end(), {"--cache-tokens=320", "--max-running=16"});
  const auto cluster = start_cluster(std::move(options));
  std::vector<Request> requests;
  for (int i = 0; i < 200; ++i) requests.push_back(greedy(10 + i % 30, 1 + i % 10));
  const std::vector<Answer> crowded =
      run_requests(cluster->address(), requests, Company::kTogether);
  for (size_t i = 0; i < requests.size(); i += 17) {
    const Answer alone = run_requests(cluster->address(), {requests[i]}, Company::kAlone).front();
    EXPECT_EQ(first_difference(crowded[i], alone), std::nullopt) << "request " << i;
  }
  EXPECT_TRUE(eventually(absl::Seconds(10), [&] { return node_is_empty(*cluster); }));
}

class MissingExpertsTest : public testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<LocalCluster> start() {
    LocalCluster::Options options = cluster_of(golden_dir("bard"), 1, 2);
    options.routing = GetParam();
    return start_cluster(std::move(options));
  }
};

TEST_P(MissingExpertsTest, AreWaitedFor) {
  const auto cluster = start();
  const Request request = greedy(400, 5);
  const Answer expected = run_requests(cluster->address(), {request}, Company::kAlone).front();

  // Killed in mid-stream, away for a while, started again.
  const auto stub = v1::Inference::NewStub(channel_to(cluster->address()));
  std::atomic<bool> half{false};
  Answer answer;
  std::thread client([&] {
    grpc::ClientContext context;
    const auto reader = stub->Generate(&context, to_message(request));
    for (v1::GenerateResponse response; reader->Read(&response);) {
      answer.ids.insert(answer.ids.end(), response.delta().ids().begin(),
                        response.delta().ids().end());
      if (answer.ids.size() > 50) half = true;
    }
    const grpc::Status status = reader->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
  });
  EXPECT_TRUE(eventually(absl::Seconds(30), [&] { return half.load(); }));
  cluster->find(ClusterRole::kExpertServer, 1)->signal(SIGKILL);
  EXPECT_TRUE(eventually(absl::Seconds(10), [&] {
    const v1::GetStatusResponse status = status_of(cluster->address());
    return status.coverage().num_covered() < status.coverage().num_total() &&
           status.coverage().missing().layers_size() > 0;
  }));
  // A second request comes while they are missing.
  std::thread late([&] {
    EXPECT_EQ(first_difference(run_requests(cluster->address(), {request}, Company::kAlone).front(),
                               expected),
              std::nullopt);
  });
  EXPECT_TRUE(eventually(absl::Seconds(10), [&] {
    return status_of(cluster->address()).nodes(0).load().num_stalled() == 2;
  })) << "both requests wait for experts";
  ASSERT_TRUE(cluster->launch(ClusterRole::kExpertServer, 1).ok());
  client.join();
  late.join();
  EXPECT_EQ(answer.ids, expected.ids);
  EXPECT_EQ(status_of(cluster->address()).coverage().missing().layers_size(), 0);
}

TEST_P(MissingExpertsTest, DoNotOutlastADeadline) {
  const auto cluster = start();
  cluster->find(ClusterRole::kExpertServer, 0)->signal(SIGKILL);
  const auto stub = v1::Inference::NewStub(channel_to(cluster->address()));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(1500));
  const Generated result = generate(stub.get(), to_message(greedy(20, 5)), &context);
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(eventually(absl::Seconds(10), [&] { return node_is_empty(*cluster); }));
}

INSTANTIATE_TEST_SUITE_P(Routing, MissingExpertsTest, testing::Values("local", "gateway"),
                         [](const auto& info) { return std::string(info.param); });

// Where the client sets no deadline the gateway's own limit counts, and its status says more.
TEST(Lifecycle, TheGatewaysTimeLimitSaysWhatWasMissing) {
  LocalCluster::Options options = cluster_of(golden_dir("bard"), 1, 2);
  options.gateway_flags.push_back("--request-timeout=1");
  const auto cluster = start_cluster(std::move(options));
  cluster->find(ClusterRole::kExpertServer, 0)->signal(SIGKILL);
  const Generated result = generate(cluster->address(), to_message(greedy(20, 5)));
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_THAT(result.status.error_message(), HasSubstr("no server holds"));
}

TEST(Lifecycle, AnAttentionNodeThatIsKilledCostsNoId) {
  const auto cluster = start_cluster(cluster_of(golden_dir("bard"), 2, 2));
  std::vector<Request> requests;
  for (int i = 0; i < 8; ++i) requests.push_back(greedy(300, 1 + i));
  const std::vector<Answer> expected =
      run_requests(cluster->address(), requests, Company::kTogether);
  std::thread killer([&] {
    EXPECT_TRUE(eventually(absl::Seconds(30),
                           [&] { return status_of(cluster->address()).num_assigned() == 8; }));
    absl::SleepFor(absl::Milliseconds(150));
    cluster->find(ClusterRole::kAttentionNode, 0)->signal(SIGKILL);
  });
  const std::vector<Answer> answers =
      run_requests(cluster->address(), requests, Company::kTogether);
  killer.join();
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(first_difference(answers[i], expected[i]), std::nullopt) << "request " << i;
  }
  EXPECT_TRUE(eventually(absl::Seconds(5), [&] {
    return scrape(metrics_of(*cluster, ClusterRole::kGateway, 0)).at("conclave_replays_total") > 0;
  }));
}

}  // namespace
}  // namespace conclave
