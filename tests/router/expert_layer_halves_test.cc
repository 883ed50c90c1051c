// What the routed half of a layer must keep when two steps are under way, as the halves of a step
// are: begin A, begin B, finish A, begin A of the next layer, finish B, and so on.
//   - each has the sums of its own rows, in whatever order legs come back;
//   - what comes for one while the other is waited for is neither lost nor waited for again, and
//     every leg is reported once;
//   - an answer that is there counts, however late it is looked for; the silence of a server ends
//     the legs of the one that waited and leaves the other's answers alone.

#include <deque>

#include "tests/router/expert_layer_fixture.h"
#include "tests/support/hand_clock.h"

namespace conclave {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(2);

// Computes answers at once and hands them out one a wait, in the order that the test wants; time
// passes where nothing is left to hand out.
class SlowTransport final : public Transport {
 public:
  enum class Order { kOldestFirst, kNewestFirst };

  SlowTransport(Transport* transport, HandClock* clock) : transport_(transport), clock_(clock) {}

  Order order = Order::kOldestFirst;
  std::vector<ServerId> silent;
  int32_t num_waits = 0;

  void send(const LegRequest& request, LegReply* reply) override {
    *reply = {};
    auto leg = std::make_unique<Leg>();
    leg->to = reply;
    leg->is_silent = std::count(silent.begin(), silent.end(), request.server) > 0;
    transport_->send(request, &leg->reply);
    transport_->wait(absl::InfiniteFuture());
    CHECK(leg->reply.done);
    away_.push_back(std::move(leg));
  }

  bool wait(absl::Time until) override {
    ++num_waits;
    if (order == Order::kNewestFirst) std::reverse(away_.begin(), away_.end());
    const auto found =
        std::find_if(away_.begin(), away_.end(), [](const auto& leg) { return !leg->is_silent; });
    const bool any = found != away_.end();
    if (any) {
      *(*found)->to = std::move((*found)->reply);
      away_.erase(found);
    } else {
      clock_->advance(std::max(absl::ZeroDuration(), until - clock_->now()));
    }
    if (order == Order::kNewestFirst) std::reverse(away_.begin(), away_.end());
    return any;
  }

  void cancel(LegReply* reply, absl::Status status) override {
    std::erase_if(away_, [&](const auto& leg) { return leg->to == reply; });
    if (reply->done) return;
    reply->done = true;
    reply->status = std::move(status);
  }

  size_t num_away() const { return away_.size(); }

 private:
  struct Leg {
    LegReply* to = nullptr;
    LegReply reply;
    bool is_silent = false;
  };

  Transport* const transport_;  // outlives this
  HandClock* const clock_;
  std::deque<std::unique_ptr<Leg>> away_;
};

class HalvesTest : public MoeLayerTest {
 protected:
  struct Half {
    Matrix<float> x;
    ExpertStep step;
    Matrix<float> out;
  };

  HalvesTest() {
    ExpertLayer::Parts slow_parts = parts();
    slow_parts.transport = &slow_;
    slow_parts.clock = &hands_;
    layer_ = *ExpertLayer::create(slow_parts, Placement::even(config_, 3),
                                  {.max_tokens = kMaxTokens, .leg_timeout = kTimeout});
  }

  void begin(Half* half, int32_t num_rows, uint32_t seed) {
    half->x = random_rows(num_rows, seed);
    half->out = Matrix<float>(num_rows, kNumCols);
    ASSERT_TRUE(layer_->begin(kLayer, half->x.view(), &half->step).ok());
  }
  void finish(Half* half) { ASSERT_TRUE(layer_->finish(&half->step, half->out.view()).ok()); }
  void expect_right(const Half& half) {
    EXPECT_TRUE(half.step.faults.empty());
    step_ = half.step;
    out_ = half.out;
    expect_sums(half.x.view(), DType::kBF16, DType::kBF16);
  }

  HandClock hands_;
  SlowTransport slow_{&transport_, &hands_};
  std::unique_ptr<ExpertLayer> layer_;
  Half a_;
  Half b_;
};

TEST_F(HalvesTest, TakeTurnsInWhateverOrderLegsComeBack) {
  for (const auto order :
       {SlowTransport::Order::kOldestFirst, SlowTransport::Order::kNewestFirst}) {
    slow_.order = order;
    reports_.all.clear();
    slow_.num_waits = 0;
    begin(&a_, 20, 1);
    for (uint32_t layer = 0; layer < 5; ++layer) {
      begin(&b_, 13, 100 + layer);
      finish(&a_);
      expect_right(a_);
      if (layer < 4) begin(&a_, 20, 2 + layer);
      finish(&b_);
      expect_right(b_);
    }
    EXPECT_EQ(slow_.num_away(), 0u);
    EXPECT_EQ(reports_.all.size(), 30u);  // both ask three servers five times
    EXPECT_EQ(slow_.num_waits, 30) << "once a leg: what came for the other was kept";
  }
}

// B's answers come while A waits in vain for server 1.
TEST_F(HalvesTest, ASilentServerFaultsTheHalfThatAskedIt) {
  slow_.silent = {ServerId{1}};
  begin(&a_, 20, 1);
  slow_.silent = {};
  begin(&b_, 13, 2);
  const absl::Time start = hands_.now();
  finish(&a_);
  EXPECT_EQ(hands_.now() - start, kTimeout);
  finish(&b_);
  EXPECT_EQ(hands_.now() - start, kTimeout) << "B's answers had come long before";
  expect_right(b_);
  ASSERT_FALSE(a_.step.faults.empty());
  for (const RowFault& fault : a_.step.faults) {
    EXPECT_TRUE(absl::IsUnavailable(fault.status)) << fault.status;
  }
}

TEST_F(HalvesTest, AServerThatIsSilentToBothCostsOneDeadline) {
  slow_.silent = {ServerId{1}};
  const absl::Time start = hands_.now();
  begin(&a_, 20, 1);
  begin(&b_, 13, 2);
  finish(&a_);
  begin(&a_, 20, 3);
  finish(&b_);
  finish(&a_);
  EXPECT_EQ(hands_.now() - start, kTimeout);
  EXPECT_EQ(slow_.num_away(), 0u);
}

// The other half computed for longer than servers may be silent.
TEST_F(HalvesTest, AnswersThatAreThereCountHoweverLate) {
  begin(&a_, 20, 1);
  hands_.advance(2 * kTimeout);
  begin(&b_, 13, 2);
  finish(&a_);
  expect_right(a_);
  hands_.advance(2 * kTimeout);
  finish(&b_);
  expect_right(b_);
}

}  // namespace
}  // namespace conclave
