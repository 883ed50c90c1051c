// What an expert server does with control's orders, on the bundled model:
//   - what is not ordered any more is let go at once, what is missing is loaded, each part is told;
//   - a later order takes an earlier one's place, at any moment of its loading;
//   - what has no room is not loaded, and says so, until the next order.

#include "services/expert_server/expert_keeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <random>

#include "absl/time/clock.h"
#include "common/clock.h"
#include "services/server/metrics.h"
#include "tests/support/golden.h"

namespace conclave {
namespace {

using testing::HasSubstr;

class ExpertKeeperTest : public testing::Test {
 protected:
  void start(uint64_t num_slots, uint64_t experts_a_part = 3) {
    const uint64_t expert_bytes = folder_.size.expert_bytes;
    keeper_.emplace(
        ExpertKeeper::Parts{.folder = &folder_, .worker = &worker_, .metrics = &counts_},
        ExpertKeeper::Options{.capacity_bytes = num_slots * expert_bytes,
                              .part_bytes = experts_a_part * expert_bytes,
                              .on_change = [this] { ++num_changes_; }},
        none());
  }

  ExpertSet none() const {
    return {folder_.config.num_layers, folder_.config.moe.gate.num_experts};
  }
  ExpertSet set_of(const std::string& text) const {
    return *ExpertSet::parse(text, folder_.config);
  }

  bool comes_to(const ExpertSet& held) const {
    for (int i = 0; i < 20'000 && keeper_->holding().held != held; ++i) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    return keeper_->holding().held == held;
  }

  const SystemClock clock_;
  ModelFolder folder_ = *read_model_folder(golden_dir("bard"));
  const std::unique_ptr<Metrics> metrics_ = *Metrics::create({.listen = "off"});
  ExpertMetrics counts_{metrics_.get()};
  HeldExperts weights_{folder_.config.num_layers, folder_.config.moe.gate.num_experts};
  ExpertWorker worker_{{.config = &folder_.config,
                        .weights = &weights_,
                        .executor = inline_executor(),
                        .clock = &clock_,
                        .metrics = &counts_},
                       {}};
  std::atomic<int> num_changes_{0};
  std::optional<ExpertKeeper> keeper_;
};

TEST_F(ExpertKeeperTest, LoadsAndReleases) {
  start(1000);
  keeper_->order({.order = 1, .hold = set_of("0/2")});
  ASSERT_TRUE(comes_to(set_of("0/2")));
  const Holding first = keeper_->holding();
  EXPECT_EQ(first.order, 1);
  EXPECT_EQ(first.held_bytes, static_cast<uint64_t>(first.held.size()) * folder_.size.expert_bytes);
  EXPECT_GT(num_changes_, 1) << "it tells of every part";

  keeper_->order({.order = 2, .hold = set_of("1/2")});
  const Holding at_once = keeper_->holding();
  EXPECT_EQ(at_once.order, 2);
  EXPECT_TRUE(at_once.held.minus(set_of("1/2")).empty()) << "it says that it holds what it let go";
  ASSERT_TRUE(comes_to(set_of("1/2")));
  worker_.stop();  // all changes are made
  for (int32_t layer = 0; layer < folder_.config.num_layers; ++layer) {
    for (int32_t e = 0; e < folder_.config.moe.gate.num_experts; ++e) {
      EXPECT_EQ(weights_.find(layer, e) != nullptr, set_of("1/2").contains(layer, e));
    }
  }
}

TEST_F(ExpertKeeperTest, ChangesCanBeWaitedFor) {
  start(1000);
  keeper_->order({.order = 1, .hold = set_of("0/2")});
  ASSERT_TRUE(comes_to(set_of("0/2")));
  worker_.wait_for_changes();
  EXPECT_NE(weights_.find(folder_.config.num_layers - 1, 0), nullptr);
  keeper_->order({.order = 2, .hold = none()});
  worker_.wait_for_changes();
  EXPECT_EQ(weights_.find(folder_.config.num_layers - 1, 0), nullptr);
  worker_.stop();
  worker_.let_go(none());
  worker_.wait_for_changes();  // for nothing: it returns
}

TEST_F(ExpertKeeperTest, LaterOrdersTakeTheirPlace) {
  start(1000, /*experts_a_part=*/1);
  std::mt19937 random(5);
  ExpertSet last = none();
  for (int64_t order = 1; order <= 60; ++order) {
    last = none();
    for (int32_t i = 0; i < 3; ++i) {
      last.insert_all(set_of(std::to_string(random() % 8) + "/8"));
    }
    keeper_->order({.order = order, .hold = last});
    EXPECT_TRUE(keeper_->holding().held.minus(last).empty());
    if (order % 3 == 0) absl::SleepFor(absl::Milliseconds(10));
  }
  ASSERT_TRUE(comes_to(last));
  worker_.stop();
  for (int32_t layer = 0; layer < folder_.config.num_layers; ++layer) {
    for (int32_t e = 0; e < folder_.config.moe.gate.num_experts; ++e) {
      EXPECT_EQ(weights_.find(layer, e) != nullptr, last.contains(layer, e));
    }
  }
}

TEST_F(ExpertKeeperTest, WhatHasNoRoomSaysSo) {
  start(/*num_slots=*/5);
  keeper_->order({.order = 1, .hold = set_of("0/1")});
  for (int i = 0; i < 20'000 && keeper_->holding().problem.empty(); ++i) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_THAT(keeper_->holding().problem, HasSubstr("the room for them is"));
  EXPECT_LE(keeper_->holding().held.size(), 5);
  const ExpertSet few = keeper_->holding().held;
  keeper_->order({.order = 2, .hold = few});
  EXPECT_EQ(keeper_->holding().problem, "");
  EXPECT_EQ(keeper_->holding().held, few);
}

TEST_F(ExpertKeeperTest, OrdersBeginAnewOnEachLine) {
  start(1000);
  keeper_->order({.order = 7, .hold = set_of("0/2")});
  ASSERT_TRUE(comes_to(set_of("0/2")));
  const Holding holding = keeper_->begin_line();
  EXPECT_EQ(holding.order, 0);
  EXPECT_EQ(holding.held, set_of("0/2"));
}

}  // namespace
}  // namespace conclave
