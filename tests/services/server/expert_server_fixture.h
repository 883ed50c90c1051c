// One expert server in a process of its own, and legs for it.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "kernels/row_codec.h"
#include "router/wire/grpc_transport.h"
#include "services/local/model_folder.h"
#include "tests/services/server/child_process.h"
#include "tests/services/server/fake_control.h"
#include "tests/services/server/http_get.h"
#include "tests/support/golden.h"

namespace conclave {

inline constexpr ServerId kServer{1};

// A leg with its memory: M rows, two picks each among the first half of the experts.
struct TestLeg {
  int32_t layer_idx = 0;
  DType dtype = DType::kBF16;
  std::vector<int32_t> pick_begin = {0};
  std::vector<int32_t> pick_expert;
  int32_t num_cols = 0;
  std::vector<std::byte> rows;
  LegReply reply;

  LegRequest request() const {
    return {.server = kServer,
            .layer_idx = layer_idx,
            .pick_begin = pick_begin,
            .pick_expert = pick_expert,
            .row_type = dtype,
            .num_cols = num_cols,
            .rows = rows,
            .reply_type = is_reply_type(dtype) ? dtype : DType::kBF16};
  }
};

inline TestLeg make_leg(const ModelConfig& config, int32_t num_rows, DType dtype, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  Matrix<float> x(num_rows, config.hidden_dim);
  TestLeg leg{.dtype = dtype, .num_cols = config.hidden_dim};
  while (!config.is_moe_layer(leg.layer_idx)) ++leg.layer_idx;
  const int32_t half = config.moe.gate.num_experts / 2;
  for (int32_t m = 0; m < num_rows; ++m) {
    for (int32_t c = 0; c < config.hidden_dim; ++c) x.row(m)[c] = normal(rng);
    const int32_t first = static_cast<int32_t>(rng() % static_cast<uint32_t>(half - 1));
    leg.pick_expert.push_back(first);
    leg.pick_expert.push_back(half - 1);
    leg.pick_begin.push_back(2 * (m + 1));
  }
  leg.rows.resize(static_cast<size_t>(num_rows) * packed_row_bytes(dtype, config.hidden_dim));
  pack_rows(x.view(), dtype, leg.rows.data());
  return leg;
}

inline const LegReply& run(Transport* transport, TestLeg* leg) {
  const SystemClock clock;
  transport->send(leg->request(), &leg->reply);
  const absl::Time until = clock.now() + absl::Seconds(60);
  while (!leg->reply.done) {
    if (transport->wait(until)) continue;
    transport->cancel(&leg->reply, absl::DeadlineExceededError("no answer in time"));
  }
  return leg->reply;
}

inline std::vector<std::string> command(const std::string& model, const std::string& control,
                                        const std::vector<std::string>& more = {}) {
  std::vector<std::string> words = {CONCLAVE_EXPERT_SERVER,
                                    "--model",
                                    model,
                                    "--experts",
                                    "0/2",
                                    "--control",
                                    control,
                                    "--threads",
                                    "1",
                                    "--log-level",
                                    "debug"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// One server on one model, with a control role that lets it in.
class ExpertServerTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    control_.start();
    const std::string dir = golden_dir(GetParam());
    absl::StatusOr<ModelFolder> folder = read_model_folder(dir);
    ASSERT_TRUE(folder.ok()) << folder.status();
    folder_ = *std::move(folder);
    process_.emplace(command(dir, control_.address(), {"--server-id", "expert-0"}));
    ready_ = process_->wait_ready();
    ASSERT_TRUE(ready_.contains("address")) << process_->log();
    address_ = ready_["address"].get<std::string>();
    transport_.emplace(&clock_, GrpcTransport::Options{});
    transport_->set_servers({{{.id = kServer, .address = address_}}});
  }

  const ModelConfig& config() const { return folder_.config; }
  std::string metrics() const { return http_get(ready_["metrics"].get<std::string>(), "/metrics"); }
  absl::Status status_of(TestLeg leg) { return run(&*transport_, &leg).status; }

  const SystemClock clock_;
  FakeControl control_;
  ModelFolder folder_;
  std::optional<ChildProcess> process_;
  nlohmann::json ready_;
  std::string address_;
  std::optional<GrpcTransport> transport_;
};

}  // namespace conclave
