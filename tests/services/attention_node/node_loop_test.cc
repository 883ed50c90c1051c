// What the mailbox and the step thread must keep:
//   - whoever's submission was OK hears on_finished() exactly once, whatever happens: the end, a
//     refusal, a cancel, a stop; whoever's was not, never;
//   - stalled requests are tried again, with pauses that grow;
//   - what is generated is what the engine alone generates.

#include "services/attention_node/node_loop.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "absl/time/clock.h"
#include "tests/attention/tiny_engine.h"

namespace conclave {
namespace {

// Hears on the step thread, is asked on the test's.
class Ear final : public RequestObserver {
 public:
  void on_token(const GeneratedToken& token) override {
    const std::lock_guard lock(mutex_);
    ids_.push_back(token.id);
  }
  void on_finished(const Finish& finish) override {
    const std::lock_guard lock(mutex_);
    ++num_ends_;
    finish_ = finish;
    changed_.notify_all();
  }

  Finish wait() {
    std::unique_lock lock(mutex_);
    const bool came =
        changed_.wait_for(lock, std::chrono::seconds(60), [this] { return num_ends_ > 0; });
    EXPECT_TRUE(came) << "it never ended";
    return finish_;
  }
  int num_ends() {
    const std::lock_guard lock(mutex_);
    return num_ends_;
  }
  std::vector<int32_t> ids() {
    const std::lock_guard lock(mutex_);
    return ids_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int32_t> ids_;
  int num_ends_ = 0;
  Finish finish_;
};

Request request_of(uint64_t id, int32_t max_tokens, Ear* ear) {
  Request request{.id = RequestId{id}, .prompt = some_ids(5, 1), .observer = ear};
  request.sampling.temperature = 0;
  request.sampling.max_tokens = max_tokens;
  return request;
}

class NodeLoopTest : public testing::Test {
 protected:
  void start(const NodeLoop::Options& options = {}, const TinyEngine::Options& engine = {}) {
    engine_ = std::make_unique<TinyEngine>(engine);
    if (prepare_) prepare_(engine_.get());
    loop_ = std::make_unique<NodeLoop>(
        NodeLoop::Parts{.engine = engine_->operator->(),
                        .clock = &clock_,
                        .progress = &progress_,
                        .use_view = [this](const ClusterView&) { ++num_views_; },
                        .on_step =
                            [this](const StepReport&) {
                              if (++num_steps_ == 1 && on_first_step_) on_first_step_();
                            }},
        options);
  }

  // Holds the step thread in its first step until open_gate().
  void hold_first_step() {
    on_first_step_ = [this] {
      while (!gate_is_open_) std::this_thread::yield();
    };
  }
  void wait_for_step() {
    while (num_steps_ == 0) std::this_thread::yield();
  }
  void open_gate() { gate_is_open_ = true; }

  const SystemClock clock_;
  ProgressWatch progress_{&clock_};
  std::atomic<int> num_views_{0};
  std::atomic<int> num_steps_{0};
  std::atomic<bool> gate_is_open_{false};
  std::function<void()> on_first_step_;
  std::function<void(TinyEngine*)> prepare_;
  std::unique_ptr<TinyEngine> engine_;
  std::unique_ptr<NodeLoop> loop_;
};

TEST_F(NodeLoopTest, SaysWhatTheEngineSays) {
  // Before the loop starts: all tiny engines share their experts, which are one thread's.
  const std::vector<int32_t> expected = greedy_ids(some_ids(5, 1), 6);
  start();
  Ear ears[4];
  for (uint64_t i = 0; i < 4; ++i) ASSERT_TRUE(loop_->submit(request_of(i, 6, &ears[i])).ok());
  for (Ear& ear : ears) {
    EXPECT_EQ(ear.wait().reason, FinishReason::kLength);
    EXPECT_EQ(ear.ids(), expected);
  }
  while (!loop_->idle()) std::this_thread::yield();
  EXPECT_EQ(loop_->load().num_tokens, 24);
  loop_->stop();
  for (Ear& ear : ears) EXPECT_EQ(ear.num_ends(), 1);
}

TEST_F(NodeLoopTest, ARequestThatTheEngineRefusesEndsOnce) {
  start();
  Ear ear;
  ASSERT_TRUE(loop_->submit(request_of(1, /*max_tokens=*/0, &ear)).ok());
  const Finish finish = ear.wait();
  EXPECT_EQ(finish.reason, FinishReason::kError);
  EXPECT_EQ(finish.status.code(), absl::StatusCode::kInvalidArgument);
  loop_->stop();
  EXPECT_EQ(ear.num_ends(), 1);
}

TEST_F(NodeLoopTest, AFullMailboxRefusesAndTheObserverHearsNothing) {
  hold_first_step();
  start({.max_messages = 2});
  Ear first;
  ASSERT_TRUE(loop_->submit(request_of(1, 2, &first)).ok());
  wait_for_step();
  Ear taken[2];
  Ear refused;
  ASSERT_TRUE(loop_->submit(request_of(2, 2, &taken[0])).ok());
  ASSERT_TRUE(loop_->submit(request_of(3, 2, &taken[1])).ok());
  EXPECT_EQ(loop_->load().num_waiting, 2);
  EXPECT_EQ(loop_->submit(request_of(4, 2, &refused)).code(), absl::StatusCode::kResourceExhausted);
  open_gate();
  for (Ear* const ear : {&first, &taken[0], &taken[1]}) {
    EXPECT_EQ(ear->wait().reason, FinishReason::kLength);
  }
  loop_->stop();
  EXPECT_EQ(refused.num_ends(), 0);
}

TEST_F(NodeLoopTest, OneThatIsCancelledBeforeItIsTakenInEndsOnce) {
  hold_first_step();
  start();
  Ear first;
  Ear cancelled;
  ASSERT_TRUE(loop_->submit(request_of(1, 2, &first)).ok());
  wait_for_step();
  ASSERT_TRUE(loop_->submit(request_of(2, 2, &cancelled)).ok());
  loop_->cancel(RequestId{2});
  loop_->cancel(RequestId{2});
  loop_->cancel(RequestId{99});
  open_gate();
  EXPECT_EQ(cancelled.wait().reason, FinishReason::kCancelled);
  EXPECT_EQ(first.wait().reason, FinishReason::kLength);
  loop_->stop();
  EXPECT_EQ(cancelled.num_ends(), 1);
  EXPECT_TRUE(cancelled.ids().empty());
}

TEST_F(NodeLoopTest, StopEndsEverybodyWithUnavailable) {
  hold_first_step();
  start({}, {.max_running = 1});
  Ear running;
  Ear waiting;
  Ear in_mailbox;
  ASSERT_TRUE(loop_->submit(request_of(1, 100, &running)).ok());
  wait_for_step();
  ASSERT_TRUE(loop_->submit(request_of(2, 100, &waiting)).ok());
  ASSERT_TRUE(loop_->submit(request_of(3, 100, &in_mailbox)).ok());
  std::thread stopper([this] { loop_->stop(); });
  Ear late;
  for (uint64_t id = 100; loop_->submit(request_of(id, 1, &late)).ok(); ++id) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  open_gate();
  stopper.join();
  for (Ear* const ear : {&running, &waiting, &in_mailbox}) {
    EXPECT_EQ(ear->num_ends(), 1);
    EXPECT_EQ(ear->wait().status.code(), absl::StatusCode::kUnavailable);
  }
  EXPECT_TRUE(loop_->idle());
  EXPECT_EQ(loop_->submit(request_of(5, 1, &late)).code(), absl::StatusCode::kUnavailable);
  loop_->stop();
}

TEST_F(NodeLoopTest, StalledRequestsAreTriedAgainWithGrowingPauses) {
  constexpr size_t kNumFaults = 5;
  std::vector<absl::Time> tries;  // the step thread's until the end
  prepare_ = [&](TinyEngine* engine) {
    engine->moe().fault_of = [&tries](int32_t layer_idx) -> std::optional<RowFault> {
      if (layer_idx != 1 || tries.size() >= kNumFaults) return std::nullopt;  // once a step
      tries.push_back(absl::Now());
      return RowFault{0, absl::UnavailableError("nobody holds it")};
    };
  };
  start({.first_pause = absl::Milliseconds(10), .longest_pause = absl::Milliseconds(40)});
  Ear ear;
  ASSERT_TRUE(loop_->submit(request_of(1, 3, &ear)).ok());
  EXPECT_EQ(ear.wait().reason, FinishReason::kLength);
  loop_->stop();
  EXPECT_EQ(ear.ids(), greedy_ids(some_ids(5, 1), 3));
  ASSERT_EQ(tries.size(), kNumFaults);
  for (size_t i = 0; i + 1 < kNumFaults; ++i) {
    const absl::Duration pause = std::min(absl::Milliseconds(10 << i), absl::Milliseconds(40));
    EXPECT_GE(tries[i + 1] - tries[i], pause - absl::Milliseconds(1)) << i;  // another clock
  }
}

TEST_F(NodeLoopTest, ANewViewEndsThePause) {
  std::atomic<bool> fails{true};
  prepare_ = [&](TinyEngine* engine) {
    engine->moe().fault_of = [&fails](int32_t) -> std::optional<RowFault> {
      if (!fails) return std::nullopt;
      return RowFault{0, absl::UnavailableError("nobody holds it")};
    };
  };
  start({.first_pause = absl::Hours(1), .longest_pause = absl::Hours(1)});
  Ear ear;
  ASSERT_TRUE(loop_->submit(request_of(1, 3, &ear)).ok());
  while (loop_->load().num_stalled == 0) std::this_thread::yield();
  fails = false;
  loop_->set_view({.version = 12});
  EXPECT_EQ(ear.wait().reason, FinishReason::kLength);
  EXPECT_EQ(num_views_, 1);
  EXPECT_EQ(loop_->placement_version(), 12);
}

TEST_F(NodeLoopTest, AStalledRequestCanBeCancelledAndStopped) {
  prepare_ = [](TinyEngine* engine) {
    engine->moe().fault_of = [](int32_t) {
      return std::optional<RowFault>({0, absl::UnavailableError("nobody holds it")});
    };
  };
  start();
  Ear cancelled;
  Ear stopped;
  ASSERT_TRUE(loop_->submit(request_of(1, 3, &cancelled)).ok());
  while (loop_->load().num_stalled == 0) std::this_thread::yield();
  loop_->cancel(RequestId{1});
  EXPECT_EQ(cancelled.wait().reason, FinishReason::kCancelled);
  ASSERT_TRUE(loop_->submit(request_of(2, 3, &stopped)).ok());
  loop_->stop();
  EXPECT_EQ(stopped.wait().status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(cancelled.num_ends() + stopped.num_ends(), 2);
}

}  // namespace
}  // namespace conclave
