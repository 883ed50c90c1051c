// Servers that are sound but not the cluster's (contract C1 and C5): of another model, of other
// bits, silent, or a second one of a name.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "tests/cluster/hand_held_line.h"
#include "tests/cluster/sturdy_cluster.h"

namespace conclave {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class MixedServersTest : public SturdyCluster {
 protected:
  static void SetUpTestSuite() {
    LocalCluster::Options options = cluster_of(golden_dir("moonlight"), 1, 1);
    options.gateway_flags = {"--allow-mixed", "--heartbeat=0.1"};
    start(std::move(options));
  }
};

// And one that is silent, at heartbeats of 100 ms, is taken out.
TEST_F(MixedServersTest, OtherBitsAreTakenAndTold) {
  EXPECT_TRUE(status_of(address()).exact());
  v1::Hello hello = good_hello();
  hello.mutable_profile()->set_instructions("sse2");
  HandHeldLine line(address());
  line.say(hello);
  ASSERT_TRUE(line.hears_welcome());
  EXPECT_FALSE(status_of(address()).exact());
  const grpc::Status end = line.wait_for_end();
  EXPECT_EQ(end.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_THAT(end.error_message(), HasSubstr("six intervals"));
  EXPECT_FALSE(knows(address(), "stranger"));
  EXPECT_TRUE(status_of(address()).exact());
  hello.mutable_profile()->set_weights("other");
  HandHeldLine other(address());
  other.say(hello);
  EXPECT_EQ(other.wait_for_end().error_code(), StatusCode::FAILED_PRECONDITION);
}

// What expert_server says when it has another model than its gateway.
TEST_F(MixedServersTest, AServerOfAnotherModelEndsInWords) {
  const std::string log = new_log_dir() + "/other.log";
  auto other =
      ChildProcess::start({.program = bin_dir() + "/expert_server",
                           .args = {"--model=" + golden_dir("deepseek_v3"),
                                    "--control=" + address(), "--threads=1", "--experts=0/1"},
                           .log_file = log});
  ASSERT_TRUE(other.ok()) << other.status();
  const auto exit = (*other)->wait(absl::Seconds(60));
  ASSERT_TRUE(exit.has_value()) << read_file(log);
  EXPECT_EQ(exit->to_string(), "exit code 1");
  EXPECT_THAT(read_file(log), HasSubstr("has the weights"));
}

TEST(ServersOfOneName, TheSecondWaitsForTheFirstToGo) {
  const std::string model = golden_dir("moonlight");
  const auto cluster = start_cluster(cluster_of(model, 1, 2));
  const std::string log = new_log_dir() + "/second.log";
  const auto second =
      ChildProcess::start({.program = bin_dir() + "/expert_server",
                           .args = {"--model=" + model, "--control=" + cluster->address(),
                                    "--threads=1", "--experts=1/2", "--server-id=expert_server-1"},
                           .log_file = log});
  ASSERT_TRUE(second.ok()) << second.status();
  ASSERT_TRUE(eventually(absl::Seconds(60), [&] {
    (*second)->poll();
    return (*second)->ready() && read_file(log).find("control refuses") != std::string::npos;
  })) << read_file(log);
  cluster->find(ClusterRole::kExpertServer, 1)->signal(SIGKILL);
  EXPECT_TRUE(eventually(absl::Seconds(60), [&] {
    const v1::GetStatusResponse status = status_of(cluster->address());
    const auto& servers = status.expert_servers();
    return std::any_of(servers.begin(), servers.end(), [&](const v1::ExpertServerStatus& server) {
      return server.server_id() == "expert_server-1" &&
             server.address() == (*second)->ready()->address;
    });
  })) << read_file(log);
  Request request{.prompt = {3, 4, 5}};
  request.sampling.max_tokens = 4;
  EXPECT_TRUE(generate(cluster->address(), to_message(request)).status.ok());
}

}  // namespace
}  // namespace conclave
