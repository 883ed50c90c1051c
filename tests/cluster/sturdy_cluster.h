// One small cluster for a suite of bad input, which must not harm it: after every test the same
// processes run and a request gets the ids of the golden file.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/cluster/test_cluster.h"
#include "tests/support/golden.h"

namespace conclave {

class SturdyCluster : public testing::Test {
 protected:
  // Called by SetUpTestSuite().
  static void start(LocalCluster::Options options) {
    golden_ = new GoldenPrompt(read_golden(options.model).front());
    cluster_ = start_cluster(std::move(options)).release();
    pids_.clear();
    for (const auto& process : cluster_->processes()) pids_.push_back(process.child->pid());
  }
  static void TearDownTestSuite() {
    EXPECT_TRUE(cluster_->stop(absl::Seconds(20)).ok());
    delete cluster_;
    delete golden_;
  }

  void TearDown() override {
    ASSERT_EQ(cluster_->processes().size(), pids_.size());
    for (size_t i = 0; i < pids_.size(); ++i) {
      ChildProcess* const child = cluster_->processes()[i].child.get();
      EXPECT_EQ(child->pid(), pids_[i]);
      EXPECT_FALSE(child->exit_state().has_value())
          << "process " << i << " ended with " << child->exit_state()->to_string();
    }
    expect_golden_answer();
  }

  static void expect_golden_answer() {
    Request request{.prompt = golden_->prompt};
    request.sampling.temperature = 0;
    request.sampling.max_tokens = 4;
    const Generated answer = generate(address(), to_message(request));
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    const std::vector<int32_t> expected(golden_->greedy.begin(), golden_->greedy.begin() + 4);
    EXPECT_EQ(answer.answer.ids, expected);
  }

  static const std::string& address() { return cluster_->address(); }
  static std::string address_of(ClusterRole role, int32_t idx) {
    return cluster_->find(role, idx)->ready()->address;
  }

  inline static LocalCluster* cluster_ = nullptr;
  inline static GoldenPrompt* golden_ = nullptr;
  inline static std::vector<pid_t> pids_;
};

}  // namespace conclave
