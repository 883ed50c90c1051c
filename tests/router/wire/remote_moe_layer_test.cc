// What a layer behind a gateway must keep:
//   - the same bits and the same faults as the layer beside its caller, also when a step travels in
//     several frames;
//   - several steps may be under way at once;
//   - a gateway that is lost, silent, stopping or full makes the step UNAVAILABLE, and the layer
//     works again when the gateway does; another status is kept;
//   - an answer of another shape is INTERNAL.

#include "router/wire/remote_moe_layer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <limits>
#include <mutex>
#include <random>

#include "router/expert_layer.h"
#include "router/wire/moe_service.h"
#include "tests/router/fake_expert_server.h"
#include "tests/router/wire/wire_server.h"

namespace conclave {
namespace {

using testing::HasSubstr;

constexpr int32_t kLayer = 1;
constexpr int32_t kNumExperts = 6;
constexpr int32_t kNumCols = 8;

// An ExpertLayer over two loopback servers; layer 1 of two has experts.
class LocalLayer {
 public:
  LocalLayer() : gate_weight_(kNumExperts, kNumCols) {
    for (int32_t e = 0; e < kNumExperts; ++e) gate_weight_.row(e)[e] = 1.f;
    config_.num_layers = 2;
    config_.hidden_dim = kNumCols;
    config_.moe.gate = {.num_experts = kNumExperts, .experts_per_token = 2};
    config_.moe.first_moe_layer = 1;
    std::vector<GateWeights> gates(2);
    gates[kLayer].weight = {
        .data = gate_weight_.row(0), .num_rows = kNumExperts, .num_cols = kNumCols};
    for (int32_t i = 0; i < 2; ++i) transport_.add_server(ServerId{i}, &servers_[i]);
    auto layer = ExpertLayer::create({.config = &config_,
                                      .gates = gates,
                                      .transport = &transport_,
                                      .executor = inline_executor(),
                                      .clock = &clock_},
                                     Placement::even(config_, 2), {.max_tokens = 100});
    CHECK(layer.ok());
    layer_ = *std::move(layer);
  }

  absl::StatusOr<MoeAnswer> run(Rows<const float> x) {
    const auto step = layer_->new_step();
    MoeAnswer answer{.out = Matrix<float>(x.num_rows, x.num_cols)};
    absl::Status status = layer_->begin(kLayer, x, step.get());
    if (status.ok()) status = layer_->finish(step.get(), answer.out.view());
    if (!status.ok()) return status;
    answer.faults = step->faults;
    return answer;
  }

 private:
  ModelConfig config_;
  Matrix<float> gate_weight_;
  FakeExpertServer servers_[2];
  LoopbackTransport transport_;
  const SystemClock clock_;
  std::unique_ptr<ExpertLayer> layer_;
};

// A gateway. It does what the test says instead, where that is set.
class Gateway final : public MoeHandler {
 public:
  using Act = std::function<void(MoeFrame, Done)>;

  void do_instead(Act act) {
    const std::lock_guard lock(mutex_);
    act_ = std::move(act);
  }

  void submit(MoeFrame frame, Done done) override {
    Act act;
    {
      const std::lock_guard lock(mutex_);
      act = act_;
    }
    if (act) return act(std::move(frame), std::move(done));
    const std::lock_guard lock(mutex_);
    if (frame.layer_idx != kLayer) return done(absl::InvalidArgumentError("no such layer"));
    done(layer_.run(frame.hidden.view()));
  }

 private:
  std::mutex mutex_;
  Act act_;
  LocalLayer layer_;
};

class RemoteMoeLayerTest : public testing::Test {
 protected:
  RemoteMoeLayerTest() : service_(&gateway_, {}), server_(service_.service()) {}

  std::unique_ptr<RemoteMoeLayer> connect(RemoteMoeLayer::Options options = {}) {
    options.address = server_.address();
    return std::make_unique<RemoteMoeLayer>(&clock_, options);
  }

  Matrix<float> random_rows(int32_t num_rows) {
    std::normal_distribution<float> normal;
    Matrix<float> x(num_rows, kNumCols);
    for (int32_t t = 0; t < num_rows; ++t) {
      for (int32_t c = 0; c < kNumCols; ++c) x.row(t)[c] = normal(rng_);
    }
    return x;
  }

  // Faults are those of `step_`.
  absl::Status run(RemoteMoeLayer* layer, const Matrix<float>& x, int32_t layer_idx = kLayer) {
    if (step_ == nullptr) step_ = layer->new_step();
    out_ = Matrix<float>(x.num_rows(), kNumCols);
    const absl::Status status = layer->begin(layer_idx, x.view(), step_.get());
    return status.ok() ? layer->finish(step_.get(), out_.view()) : status;
  }

  void expect_as_local(const Matrix<float>& x, const Matrix<float>& out, const MoeStep& step) {
    const absl::StatusOr<MoeAnswer> local = local_.run(x.view());
    ASSERT_TRUE(local.ok()) << local.status();
    const size_t num_values = static_cast<size_t>(x.num_rows()) * kNumCols;
    if (num_values > 0) {
      EXPECT_EQ(std::memcmp(local->out.view().data, out.view().data, num_values * sizeof(float)),
                0);
    }
    ASSERT_EQ(step.faults.size(), local->faults.size());
    for (size_t i = 0; i < step.faults.size(); ++i) {
      EXPECT_EQ(step.faults[i].token_idx, local->faults[i].token_idx);
      EXPECT_EQ(step.faults[i].status, local->faults[i].status);
    }
  }

  const SystemClock clock_;
  std::mt19937 rng_{1};
  LocalLayer local_;
  Gateway gateway_;
  MoeService service_;
  WireServer server_;
  std::unique_ptr<MoeStep> step_;
  Matrix<float> out_;
};

TEST_F(RemoteMoeLayerTest, TheSameBitsAsBesideTheCaller) {
  const auto whole = connect();
  const auto in_parts = connect({.max_row_bytes = 7 * kNumCols * 4 + 3});
  for (const int32_t num_rows : {0, 1, 2, 7, 8, 33, 100}) {
    const Matrix<float> x = random_rows(num_rows);
    for (RemoteMoeLayer* const layer : {whole.get(), in_parts.get()}) {
      ASSERT_TRUE(run(layer, x).ok());
      expect_as_local(x, out_, *step_);
    }
  }
}

TEST_F(RemoteMoeLayerTest, FaultsNameTheirTokens) {
  Matrix<float> x = random_rows(40);
  for (const int32_t t : {0, 8, 15, 39}) {
    x.row(t)[2] = std::numeric_limits<float>::quiet_NaN();
  }
  const auto layer = connect({.max_row_bytes = 8 * kNumCols * 4});
  ASSERT_TRUE(run(layer.get(), x).ok());
  ASSERT_EQ(step_->faults.size(), 4u);
  expect_as_local(x, out_, *step_);
}

// As the halves of a step: the one goes on to the next layer while the other's rows are away. The
// last two end in the other order.
TEST_F(RemoteMoeLayerTest, SeveralStepsAreUnderWay) {
  const auto layer = connect({.max_row_bytes = 4 * kNumCols * 4});
  Matrix<float> x[2] = {random_rows(5), random_rows(9)};
  Matrix<float> out[2] = {Matrix<float>(5, kNumCols), Matrix<float>(9, kNumCols)};
  const std::unique_ptr<MoeStep> steps[2] = {layer->new_step(), layer->new_step()};
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(layer->begin(kLayer, x[i].view(), steps[i].get()).ok());
  for (int turn = 0; turn < 20; ++turn) {
    const int i = turn < 18 ? turn % 2 : 19 - turn;
    ASSERT_TRUE(layer->finish(steps[i].get(), out[i].view()).ok());
    expect_as_local(x[i], out[i], *steps[i]);
    if (turn >= 18) continue;
    x[i] = random_rows(x[i].num_rows());
    ASSERT_TRUE(layer->begin(kLayer, x[i].view(), steps[i].get()).ok());
  }
  EXPECT_EQ(layer->num_dropped_answers(), 0u);
}

TEST_F(RemoteMoeLayerTest, StatusesOfTheGateway) {
  const auto layer = connect();
  EXPECT_EQ(run(layer.get(), random_rows(2), 7), absl::InvalidArgumentError("no such layer"));
  for (const absl::StatusCode code :
       {absl::StatusCode::kUnavailable, absl::StatusCode::kResourceExhausted,
        absl::StatusCode::kDeadlineExceeded, absl::StatusCode::kNotFound}) {
    gateway_.do_instead(
        [&](const MoeFrame&, const MoeHandler::Done& done) { done(absl::Status(code, "busy")); });
    EXPECT_EQ(run(layer.get(), random_rows(2)), absl::UnavailableError("busy"));
  }
}

TEST_F(RemoteMoeLayerTest, AnAnswerOfAnotherShape) {
  const auto layer = connect();
  gateway_.do_instead([&](const MoeFrame&, const MoeHandler::Done& done) {
    done(MoeAnswer{.out = Matrix<float>(3, kNumCols)});
  });
  const absl::Status status = run(layer.get(), random_rows(2));
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("3 rows of 8 columns; asked for 2 of 8"));
}

TEST_F(RemoteMoeLayerTest, ASilentGateway) {
  const auto layer = connect({.leg_timeout = absl::Milliseconds(300)});
  while (!run(layer.get(), random_rows(1)).ok()) {
  }  // it is connected, so that a frame leaves at once
  std::mutex mutex;
  std::vector<MoeHandler::Done> kept;
  gateway_.do_instead([&](const MoeFrame&, MoeHandler::Done done) {
    const std::lock_guard lock(mutex);
    kept.push_back(std::move(done));
  });
  const absl::Status status = run(layer.get(), random_rows(2));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no answer in time"));
  while (true) {
    const std::lock_guard lock(mutex);
    if (kept.empty()) continue;
    kept[0](MoeAnswer{.out = Matrix<float>(2, kNumCols)});  // too late, and dropped
    break;
  }
  // Not before the late answer has come.
  while (layer->num_dropped_answers() == 0) run(layer.get(), random_rows(1)).IgnoreError();
  server_.stop();  // no frame comes when `kept` is gone
  const std::lock_guard lock(mutex);
  for (size_t i = 1; i < kept.size(); ++i) kept[i](absl::CancelledError("the test is over"));
}

TEST_F(RemoteMoeLayerTest, AGatewayThatIsLostAndComesBack) {
  const auto layer = connect();
  const Matrix<float> x = random_rows(4);
  ASSERT_TRUE(run(layer.get(), x).ok());
  const int port = server_.port();
  server_.stop();
  absl::Status status = run(layer.get(), x);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr(server_.address()));
  MoeService again(&gateway_, {});
  WireServer server(again.service(), port);
  const absl::Time until = clock_.now() + absl::Seconds(60);
  while (!status.ok() && clock_.now() < until) {
    status = run(layer.get(), x);
    if (status.ok()) break;
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  }
  ASSERT_TRUE(status.ok()) << status;
  expect_as_local(x, out_, *step_);
}

TEST_F(RemoteMoeLayerTest, AGatewayThatStops) {
  const auto layer = connect();
  ASSERT_TRUE(run(layer.get(), random_rows(1)).ok());
  service_.shutdown(/*drain=*/true);
  const absl::Status status = run(layer.get(), random_rows(1));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("server is stopping"));
}

TEST_F(RemoteMoeLayerTest, GoesWithAStepUnderWay) {
  std::mutex mutex;
  std::vector<MoeHandler::Done> kept;
  gateway_.do_instead([&](const MoeFrame&, MoeHandler::Done done) {
    const std::lock_guard lock(mutex);
    kept.push_back(std::move(done));
  });
  const Matrix<float> x = random_rows(1);
  auto layer = connect();
  const auto step = layer->new_step();
  ASSERT_TRUE(layer->begin(kLayer, x.view(), step.get()).ok());
  layer.reset();
  server_.stop();
  for (const MoeHandler::Done& done : kept) done(absl::CancelledError("the test is over"));
}

}  // namespace
}  // namespace conclave
