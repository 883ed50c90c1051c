// Invariants: an expert server in a process of its own says the same bits as one in ours; every
// wrong leg gets its own status and the next leg its answer; it ends with exit code 0 when asked.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "model/numeric_profile.h"
#include "router/transport_loopback.h"
#include "services/local/local_expert_server.h"
#include "tests/services/server/expert_server_fixture.h"
#include "tests/services/server/raw_call.h"

namespace conclave {
namespace {

using testing::HasSubstr;

TEST_P(ExpertServerTest, SaysTheSameBitsAsOneInThisProcess) {
  const absl::StatusOr<ExpertSet> held = ExpertSet::parse("0/2", config());
  ASSERT_TRUE(held.ok());
  auto local = LocalExpertServer::load(*folder_.checkpoint, config(), *held, inline_executor(),
                                       [](uint64_t, uint64_t) {});
  ASSERT_TRUE(local.ok()) << local.status();
  LoopbackTransport loopback;
  loopback.add_server(kServer, local->get());
  for (const DType dtype : {DType::kBF16, DType::kF32, DType::kF8E4M3}) {
    for (const int32_t num_rows : {1, 2, 33}) {
      TestLeg here = make_leg(config(), num_rows, dtype, /*seed=*/7);
      TestLeg there = here;
      ASSERT_TRUE(run(&loopback, &here).status.ok());
      ASSERT_TRUE(run(&*transport_, &there).status.ok()) << there.reply.status;
      EXPECT_EQ(there.reply.rows, here.reply.rows);
    }
  }
}

TEST_P(ExpertServerTest, RegistersWithWhatItIs) {
  ASSERT_TRUE(control_.eventually([this] { return control_.heartbeats().size() >= 2; }));
  const v1::Hello hello = control_.hellos().front();
  EXPECT_EQ(hello.role(), v1::ROLE_EXPERT_SERVER);
  EXPECT_EQ(hello.server_id(), "expert-0");
  EXPECT_EQ(hello.address(), address_);
  EXPECT_EQ(hello.metrics_address(), ready_["metrics"].get<std::string>());
  EXPECT_EQ(hello.profile().weights(), fingerprint_of(*folder_.checkpoint));
  EXPECT_GT(hello.held_bytes(), 0u);
  EXPECT_GE(hello.capacity_bytes(), hello.held_bytes());
  EXPECT_GT(hello.held().layers_size(), 0);
  EXPECT_EQ(ready_["role"], "expert_server");
  ASSERT_FALSE(process_->progress().empty());
  EXPECT_EQ(process_->progress().back()["progress"], "experts 0/2");
  EXPECT_EQ(process_->progress().back()["done"], hello.held_bytes());
  EXPECT_TRUE(control_.eventually([this] { return health(address_, "readiness") == "SERVING"; }));
  EXPECT_EQ(health(address_, "conclave.v1.Experts"), "SERVING");
  EXPECT_EQ(health(address_, "liveness"), "SERVING");
}

TEST_P(ExpertServerTest, EveryWrongLegGetsItsStatus) {
  const int32_t num_experts = config().moe.gate.num_experts;
  const struct {
    const char* what;
    std::function<void(TestLeg*)> spoil;
    absl::StatusCode code;
    std::string word;
  } cases[] = {
      {"layer above", [](TestLeg* leg) { leg->layer_idx = 99; }, absl::StatusCode::kInvalidArgument,
       "layer 99"},
      {"dense layer", [](TestLeg* leg) { leg->layer_idx = 0; }, absl::StatusCode::kInvalidArgument,
       "layer 0 has no routed experts"},
      {"unknown expert", [&](TestLeg* leg) { leg->pick_expert.back() = num_experts; },
       absl::StatusCode::kInvalidArgument, absl::StrCat("expert ", num_experts)},
      {"foreign expert", [&](TestLeg* leg) { leg->pick_expert.back() = num_experts - 1; },
       absl::StatusCode::kNotFound, absl::StrCat("expert ", num_experts - 1)},
      {"expert twice", [](TestLeg* leg) { leg->pick_expert[0] = leg->pick_expert[1]; },
       absl::StatusCode::kInvalidArgument, "do not ascend"},
      {"row without picks", [](TestLeg* leg) { leg->pick_begin[1] = 0; },
       absl::StatusCode::kInvalidArgument, "pick_begin"},
      {"picks left over", [](TestLeg* leg) { leg->pick_begin.back() -= 1; },
       absl::StatusCode::kInvalidArgument, "pick_begin"},
      {"narrow rows",
       [](TestLeg* leg) {
         leg->num_cols /= 2;
         leg->rows.resize(leg->rows.size() / 2);
       },
       absl::StatusCode::kInvalidArgument, "columns"},
  };
  for (const auto& c : cases) {
    TestLeg leg = make_leg(config(), 2, DType::kBF16, 1);
    c.spoil(&leg);
    const absl::Status status = status_of(std::move(leg));
    EXPECT_EQ(status.code(), c.code) << c.what << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.word)) << c.what;
    EXPECT_TRUE(status_of(make_leg(config(), 1, DType::kBF16, 2)).ok()) << c.what;
  }
  EXPECT_EQ(status_of(make_leg(config(), 513, DType::kBF16, 1)).code(),
            absl::StatusCode::kResourceExhausted);
}

// It is not refused: the answer is not finite either, and whoever asked faults that token alone.
TEST_P(ExpertServerTest, ARowThatIsNotFiniteHarmsNoOther) {
  TestLeg sound = make_leg(config(), 3, DType::kBF16, 3);
  TestLeg sick = sound;
  const uint16_t nan = 0x7FC0;
  std::memcpy(sick.rows.data(), &nan, sizeof nan);
  ASSERT_TRUE(run(&*transport_, &sound).status.ok());
  ASSERT_TRUE(run(&*transport_, &sick).status.ok());
  const size_t of_first_row = 2 * static_cast<size_t>(config().hidden_dim) * sizeof(bf16);
  EXPECT_TRUE(std::equal(sound.reply.rows.begin() + static_cast<std::ptrdiff_t>(of_first_row),
                         sound.reply.rows.end(),
                         sick.reply.rows.begin() + static_cast<std::ptrdiff_t>(of_first_row)));
  EXPECT_FALSE(
      std::equal(sound.reply.rows.begin(), sound.reply.rows.end(), sick.reply.rows.begin()));
}

TEST_P(ExpertServerTest, CountsWhatItDoes) {
  EXPECT_TRUE(status_of(make_leg(config(), 3, DType::kBF16, 1)).ok());
  TestLeg wrong = make_leg(config(), 1, DType::kBF16, 1);
  wrong.layer_idx = 99;
  EXPECT_FALSE(status_of(std::move(wrong)).ok());
  const std::string text = metrics();
  for (const char* line :
       {"conclave_expert_legs_total{code=\"OK\"} 1", "conclave_expert_picks_total 6",
        "conclave_expert_legs_total{code=\"INVALID_ARGUMENT\"} 1", "conclave_expert_rows_total 3",
        "conclave_expert_legs_total{code=\"NOT_FOUND\"} 0", "conclave_expert_queue_legs 0",
        "conclave_expert_batch_picks_count 1", "conclave_expert_step_seconds_count 1",
        "conclave_build_info{role=\"expert_server\""}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  const auto told = [this] {
    const std::vector<v1::Heartbeat> beats = control_.heartbeats();
    int64_t picks = 0;
    if (!beats.empty()) {
      for (const int64_t count : beats.back().experts().picks()) picks += count;
    }
    return picks == 6;
  };
  EXPECT_TRUE(control_.eventually(told));
}

TEST_P(ExpertServerTest, LeavesWhenControlLetsItGo) {
  EXPECT_TRUE(status_of(make_leg(config(), 1, DType::kBF16, 1)).ok());
  ASSERT_TRUE(control_.eventually([this] { return !control_.heartbeats().empty(); }));
  process_->signal(SIGTERM);
  ASSERT_TRUE(control_.eventually([this] {
    const std::vector<v1::Heartbeat> beats = control_.heartbeats();
    return !beats.empty() && beats.back().draining();
  }));
  EXPECT_TRUE(status_of(make_leg(config(), 1, DType::kBF16, 1)).ok());  // it still serves
  control_.say_goodbye();
  EXPECT_EQ(process_->wait(), 0);
  EXPECT_EQ(control_.num_lines(), 0);
  EXPECT_EQ(status_of(make_leg(config(), 1, DType::kBF16, 1)).code(),
            absl::StatusCode::kUnavailable);
}

TEST_P(ExpertServerTest, ASecondSignalEndsTheWait) {
  ASSERT_TRUE(control_.eventually([this] { return !control_.heartbeats().empty(); }));
  process_->signal(SIGTERM);
  absl::SleepFor(absl::Milliseconds(100));
  EXPECT_EQ(process_->stop(SIGINT), 0);
  EXPECT_THAT(process_->log(), HasSubstr("asked again"));
}

INSTANTIATE_TEST_SUITE_P(Models, ExpertServerTest, testing::Values("moonlight", "bard"),
                         [](const auto& info) { return info.param; });

TEST(ExpertServerStartTest, WhatCannotServeEndsInWords) {
  const std::string model = golden_dir("moonlight");
  FakeControl taken;
  taken.start();
  const struct {
    std::vector<std::string> more;
    int exit_code;
    const char* word;
  } cases[] = {
      {{"--bogus"}, 2, "--bogus"},
      {{"--listen", "0.0.0.0:0"}, 1, "--advertise-address"},
      {{"--listen", taken.address()}, 1, "cannot listen on"},
      {{"--metrics-listen", taken.address()}, 1, "cannot listen on"},
      {{"--capacity", "1KiB"}, 1, "--overcommit"},
  };
  for (const auto& c : cases) {
    ChildProcess process(command(model, taken.address(), c.more));
    EXPECT_EQ(process.wait(), c.exit_code) << c.word << process.log();
    EXPECT_THAT(process.log(), HasSubstr(c.word));
  }
  for (const char* model_dir : {"/nowhere", "tests/golden"}) {
    ChildProcess process(command(model_dir, taken.address()));
    EXPECT_EQ(process.wait(), 1) << process.log();
  }
}

TEST(ExpertServerStartTest, OtherWeightsEndIt) {
  FakeControl control;
  control.answer({grpc::StatusCode::FAILED_PRECONDITION, "other weights"});
  control.start();
  ChildProcess process(command(golden_dir("moonlight"), control.address()));
  EXPECT_EQ(process.wait(), 1);
  EXPECT_THAT(process.log(), HasSubstr("other weights"));
}

TEST(ExpertServerStartTest, LeavesAtOnceWhenControlIsAwayAndNobodyAsks) {
  ChildProcess process(command(golden_dir("moonlight"), "127.0.0.1:1"));
  ASSERT_TRUE(process.wait_ready().contains("address")) << process.log();
  const absl::Time start = absl::Now();
  EXPECT_EQ(process.stop(SIGTERM), 0);
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

}  // namespace
}  // namespace conclave
