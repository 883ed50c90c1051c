// How processes end:
//   - each role gets SIGTERM in mid-stream: what it serves finishes or goes on elsewhere, and the
//     process exits with 0;
//   - a second signal ends the patience;
//   - `conclave up` stops everything when it is asked to, and nothing is left when it is killed.

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <thread>

#include "absl/time/clock.h"
#include "nlohmann/json.hpp"
#include "tests/cluster/test_cluster.h"
#include "tests/support/golden.h"

namespace conclave {
namespace {

TEST(Stop, AGatewayFinishesItsStreamsAndTakesNoMore) {
  const auto cluster = start_cluster(cluster_of(golden_dir("bard"), 1, 2));
  ChildProcess* const gateway = cluster->find(ClusterRole::kGateway, 0);
  const Generated result = generate_while(cluster->address(), 600, [&] {
    gateway->signal(SIGTERM);
    EXPECT_TRUE(eventually(absl::Seconds(10), [&] {
      const grpc::Status status = generate(cluster->address(), request_of(3)).status;
      return status.error_code() == grpc::StatusCode::UNAVAILABLE;
    }));
  });
  EXPECT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_EQ(result.answer.ids.size(), 600u);
  const auto exit = gateway->wait(absl::Seconds(20));
  ASSERT_TRUE(exit.has_value());
  EXPECT_TRUE(exit->clean()) << exit->to_string();
}

TEST(Stop, AnAttentionNodeFinishesWhatItHas) {
  const auto cluster = start_cluster(cluster_of(golden_dir("bard"), 1, 2));
  ChildProcess* const node = cluster->find(ClusterRole::kAttentionNode, 0);
  const Generated result = generate_while(cluster->address(), 600, [&] { node->signal(SIGTERM); });
  EXPECT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_EQ(result.answer.ids.size(), 600u);
  const auto exit = node->wait(absl::Seconds(20));
  ASSERT_TRUE(exit.has_value());
  EXPECT_TRUE(exit->clean()) << exit->to_string();
}

// Without patience its requests go on at the other node, with the same ids.
TEST(Stop, AnAttentionNodeThatIsAskedTwiceHandsItsRequestsOver) {
  const auto cluster = start_cluster(cluster_of(golden_dir("bard"), 2, 2));
  const Generated expected = generate(cluster->address(), request_of(2000));
  int32_t stopped = -1;
  const Generated result = generate_while(cluster->address(), 2000, [&] {
    const v1::GetStatusResponse status = status_of(cluster->address());
    for (int32_t i = 0; i < 2 && stopped < 0; ++i) {
      if (status.nodes(i).load().num_running() == 0) continue;
      const std::string& id = status.nodes(i).server_id();
      stopped = id.back() - '0';
    }
    if (stopped < 0) stopped = 0;
    ChildProcess* const node = cluster->find(ClusterRole::kAttentionNode, stopped);
    node->signal(SIGTERM);
    absl::SleepFor(absl::Milliseconds(100));
    node->signal(SIGTERM);
  });
  EXPECT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_EQ(result.answer.ids, expected.answer.ids);
  const auto exit = cluster->find(ClusterRole::kAttentionNode, stopped)->wait(absl::Seconds(20));
  ASSERT_TRUE(exit.has_value());
  EXPECT_TRUE(exit->clean()) << exit->to_string();
}

TEST(Stop, AnExpertServerServesUntilItsTimeIsUp) {
  LocalCluster::Options options = cluster_of(golden_dir("bard"), 1, 2);
  options.expert_flags.push_back("--drain-timeout=3");
  const auto cluster = start_cluster(std::move(options));
  const Generated expected = generate(cluster->address(), request_of(100));
  ChildProcess* const server = cluster->find(ClusterRole::kExpertServer, 1);
  // It holds experts that nobody else does: it goes on for its drain timeout.
  const Generated result =
      generate_while(cluster->address(), 100, [&] { server->signal(SIGTERM); });
  EXPECT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_EQ(result.answer.ids, expected.answer.ids);
  const auto exit = server->wait(absl::Seconds(20));
  ASSERT_TRUE(exit.has_value());
  EXPECT_TRUE(exit->clean()) << exit->to_string();
}

// --- conclave up

class UpTest : public testing::Test {
 protected:
  void SetUp() override {
    state_ = new_log_dir() + "/state.json";
    // The flag that start() adds is the shell's $0.
    const std::string command =
        "exec " + bin_dir() + "/conclave up --model=" + golden_dir("bard") + " --state=" + state_;
    auto up = ChildProcess::start(
        {.program = "/bin/sh", .args = {"-c", command}, .log_file = state_ + ".log"});
    ASSERT_TRUE(up.ok()) << up.status();
    up_ = *std::move(up);
  }

  // The processes of the state file, once it is there.
  nlohmann::json processes() {
    EXPECT_TRUE(eventually(absl::Seconds(60), [&] { return access(state_.c_str(), R_OK) == 0; }));
    std::ifstream file(state_);
    return nlohmann::json::parse(file)["processes"];
  }

  std::string state_;
  std::unique_ptr<ChildProcess> up_;
};

// The fields of /proc/PID/stat from the state on; empty where there is no such process.
std::vector<std::string> stat_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return {};
  std::istringstream fields(text.substr(name_end + 1));
  return {std::istream_iterator<std::string>(fields), {}};
}

// One that nobody has waited for yet is over all the same.
bool is_gone(pid_t pid) {
  const std::vector<std::string> stat = stat_of(pid);
  return stat.empty() || stat[0] == "Z" || stat[0] == "X";
}

bool all_gone(const nlohmann::json& processes) {
  return std::all_of(processes.begin(), processes.end(), [](const auto& process) {
    return is_gone(process["pid"].template get<pid_t>());
  });
}

TEST_F(UpTest, StopsEverythingWhenAsked) {
  const nlohmann::json all = processes();
  ASSERT_EQ(all.size(), 4u);
  std::map<std::string, int> roles;
  for (const auto& process : all) {
    ++roles[process["role"].get<std::string>()];
    EXPECT_FALSE(is_gone(process["pid"].get<pid_t>()));
    EXPECT_FALSE(scrape(process["metrics"].get<std::string>()).empty());
  }
  EXPECT_EQ(roles["gateway"], 1);
  EXPECT_EQ(roles["attention_node"], 1);
  EXPECT_EQ(roles["expert_server"], 2);
  EXPECT_TRUE(generate(all[0]["address"].get<std::string>(), request_of(5)).status.ok());

  up_->signal(SIGINT);
  const auto exit = up_->wait(absl::Seconds(30));
  ASSERT_TRUE(exit.has_value());
  EXPECT_TRUE(exit->clean()) << exit->to_string();
  EXPECT_TRUE(all_gone(all));
  EXPECT_NE(access(state_.c_str(), F_OK), 0) << "a state of nothing was left";
}

TEST_F(UpTest, LeavesNothingWhenItIsKilled) {
  const nlohmann::json all = processes();
  up_->signal(SIGKILL);
  EXPECT_TRUE(eventually(absl::Seconds(10), [&] { return all_gone(all); }));
}

}  // namespace
}  // namespace conclave
