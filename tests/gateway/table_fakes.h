// What stands around a request table in tests: clients that keep what they hear and complain when
// the order of calls is wrong, and a link that keeps what it was asked.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gateway/node_link.h"
#include "gateway/request.h"
#include "gateway/server_facts.h"

namespace conclave {

class FakeSink final : public ClientSink {
 public:
  void on_started(const GatewayRequest& request) override {
    EXPECT_FALSE(started);
    started = true;
    id = request.id;
  }
  void on_delta(AnswerDelta delta) override {
    EXPECT_TRUE(started && !ended());
    EXPECT_FALSE(delta.empty());
    text += delta.text;
    ids.insert(ids.end(), delta.ids.begin(), delta.ids.end());
    logprobs.insert(logprobs.end(), delta.logprobs.begin(), delta.logprobs.end());
    if (delta.prompt_logprobs.empty()) return;
    EXPECT_TRUE(prompt_logprobs.empty());
    prompt_logprobs = std::move(delta.prompt_logprobs);
  }
  void on_finished(const AnswerFinish& how) override {
    EXPECT_TRUE(started && !ended());
    finish = how;
  }
  void on_failed(const absl::Status& why) override {
    EXPECT_TRUE(started && !ended());
    EXPECT_FALSE(why.ok());
    failure = why;
  }

  bool ended() const { return finish.has_value() || failure.has_value(); }
  absl::StatusCode code() const { return failure ? failure->code() : absl::StatusCode::kOk; }
  std::string message() const { return failure ? std::string(failure->message()) : ""; }

  bool started = false;
  std::string id;
  std::string text;
  std::vector<int32_t> ids;
  std::vector<Logprobs> logprobs;
  std::vector<Logprobs> prompt_logprobs;
  std::optional<AnswerFinish> finish;
  std::optional<absl::Status> failure;
};

class FakeLink final : public NodeLink {
 public:
  struct Run {
    ServerId node{};
    NodeRequest request;
  };

  void run(ServerId node, RunHandle handle, NodeRequest request) override {
    EXPECT_TRUE(runs.emplace(handle, Run{node, std::move(request)}).second);
    last = handle;
    ++num_started;
  }
  void cancel(RunHandle handle) override {
    EXPECT_EQ(runs.erase(handle), 1);
    ++num_cancelled;
  }

  // The run's node speaks its last word.
  void end(RunHandle handle) { EXPECT_EQ(runs.erase(handle), 1); }

  std::map<RunHandle, Run> runs;  // under way
  RunHandle last{};
  int32_t num_started = 0;
  int32_t num_cancelled = 0;
};

inline NodeInfo node_info(int32_t id, int32_t max_requests = 4, uint64_t incarnation = 1) {
  return {.server = ServerId{id},
          .incarnation = incarnation,
          .id = "node-" + std::to_string(id),
          .cache_tokens = 1000,
          .max_requests = max_requests};
}

inline Logprobs logprobs_of(int32_t id) {
  return {.chosen = {.id = id, .logprob = -0.5f * static_cast<float>(id)}};
}

}  // namespace conclave
