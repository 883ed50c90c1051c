// Gateways of one role each: a control role where servers register, and frontends where clients
// ask.

#include <arpa/inet.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/check.h"
#include "services/server/address.h"
#include "tests/cluster/test_cluster.h"
#include "tests/support/golden.h"

namespace conclave {
namespace {

// A port that nobody has now, for a process that is to come back where it was.
int32_t free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof(address);
  CHECK(bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
  CHECK(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  close(fd);
  return ntohs(address.sin_port);
}

// The control role, two expert servers and an attention node; frontends on top.
class RolesTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    LocalCluster::Options options = cluster_of(model_, 1, 2);
    options.routing = GetParam();
    options.port = free_port();
    options.managed = true;
    options.gateway_flags = {"--role=control"};
    logs_ = options.log_dir;
    cluster_ = start_cluster(std::move(options));
  }
  void TearDown() override {
    for (const auto& frontend : frontends_) {
      if (frontend->exit_state()) continue;
      frontend->signal(SIGTERM);
      const auto exit = frontend->wait(absl::Seconds(30));
      ASSERT_TRUE(exit.has_value());
      EXPECT_TRUE(exit->clean()) << exit->to_string();
    }
    EXPECT_TRUE(cluster_->stop(absl::Seconds(30)).ok());
  }

  ChildProcess* start_frontend() {
    auto child = ChildProcess::start(
        {.program = bin_dir() + "/gateway",
         .args = {"--model=" + model_, "--role=frontend", "--control=" + cluster_->address()},
         .log_file = absl::StrCat(logs_, "/frontend-", frontends_.size(), ".log")});
    CHECK(child.ok());
    frontends_.push_back(*std::move(child));
    ChildProcess* const frontend = frontends_.back().get();
    EXPECT_TRUE(eventually(absl::Seconds(60), [&] {
      frontend->poll();
      return frontend->ready().has_value();
    }));
    return frontend;
  }

  static Generated ask(const ChildProcess& frontend, int32_t num_tokens) {
    return generate(frontend.ready()->address, request_of(num_tokens));
  }

  static Generated ask_while(const ChildProcess& frontend, int32_t num_tokens,
                             const std::function<void()>& meanwhile) {
    return generate_while(frontend.ready()->address, num_tokens, meanwhile);
  }

  const std::string model_ = golden_dir("bard");
  std::string logs_;
  std::unique_ptr<LocalCluster> cluster_;
  std::vector<std::unique_ptr<ChildProcess>> frontends_;
};

TEST_P(RolesTest, EachTakesWhatIsItsOwn) {
  const ChildProcess* const first = start_frontend();
  const ChildProcess* const second = start_frontend();
  const Generated answer = ask(*first, 40);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.answer.ids.size(), 40u);
  EXPECT_EQ(ask(*second, 40).answer.ids, answer.answer.ids);

  const grpc::Status no_client = generate(cluster_->address(), request_of(3)).status;
  EXPECT_EQ(no_client.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  const auto control = v1::Control::NewStub(channel_to(first->ready()->address));
  grpc::ClientContext context;
  v1::GetStatusResponse status;
  EXPECT_EQ(control->GetStatus(&context, {}, &status).error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

// A frontend that dies takes its own clients' requests along and nothing else.
TEST_P(RolesTest, AFrontendThatIsKilledLeavesTheOtherAlone) {
  ChildProcess* const first = start_frontend();
  const ChildProcess* const second = start_frontend();
  const Generated expected = ask(*second, 300);
  Generated other;
  const Generated lost = ask_while(
      *first, 3000, [&] { other = ask_while(*second, 300, [&] { first->signal(SIGKILL); }); });
  EXPECT_EQ(lost.status.error_code(), grpc::StatusCode::UNAVAILABLE) << lost.status.error_message();
  EXPECT_TRUE(other.status.ok()) << other.status.error_message();
  EXPECT_EQ(other.answer.ids, expected.answer.ids);
  EXPECT_TRUE(eventually(absl::Seconds(30), [&] {
    const v1::NodeLoad load = status_of(cluster_->address()).nodes(0).load();
    return load.num_running() == 0 && load.num_free_pages() == load.num_pages();
  })) << "the pages of the lost request are still taken";
}

// A new control role at the old address finds everybody again and moves nothing. Without one,
// requests run on and new ones are taken, unless it is the process that routes; then they wait for
// it.
TEST_P(RolesTest, TheControlRoleMayComeAndGo) {
  const ChildProcess* const frontend = start_frontend();
  const Generated expected = ask(*frontend, 300);
  const bool routes = GetParam() == "gateway";
  const Generated through = ask_while(*frontend, 300, [&] {
    ChildProcess* const control = cluster_->find(ClusterRole::kGateway, 0);
    control->signal(SIGKILL);
    control->wait(absl::InfiniteDuration());
    if (!routes) return;
    ASSERT_TRUE(cluster_->launch(ClusterRole::kGateway, 0).ok());
  });
  EXPECT_TRUE(through.status.ok()) << through.status.error_message();
  EXPECT_EQ(through.answer.ids, expected.answer.ids);
  if (!routes) {
    EXPECT_EQ(ask(*frontend, 40).answer.ids.size(), 40u);
    ASSERT_TRUE(cluster_->launch(ClusterRole::kGateway, 0).ok());
  }
  const absl::Status complete = cluster_->wait_until_complete(1, 2, absl::Seconds(60));
  EXPECT_TRUE(complete.ok()) << complete;
  EXPECT_EQ(ask(*frontend, 300).answer.ids, expected.answer.ids);
  EXPECT_EQ(ask(*start_frontend(), 300).answer.ids, expected.answer.ids);
  absl::SleepFor(absl::Seconds(5));  // it plans after three, and one more
  for (const int32_t i : {0, 1}) {
    const auto metrics = scrape(cluster_->find(ClusterRole::kExpertServer, i)->ready()->metrics);
    EXPECT_EQ(metrics.at("conclave_expert_loads_total"), 0);
    EXPECT_EQ(metrics.at("conclave_expert_releases_total"), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Routing, RolesTest, testing::Values("local", "gateway"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace conclave
