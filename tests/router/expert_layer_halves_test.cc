// What the routed half of a layer must keep when two steps are under way, as the halves of a step
// are: begin A, begin B, finish A, begin A of the next layer, finish B, and so on.
//   - each has the sums of its own rows, in whatever order legs come back;
//   - what comes for one while the other is waited for is neither lost nor waited for again, and
//     every leg is reported once;
//   - an answer that is there counts, however late it is looked for; the silence of a server ends
//     the legs of the one that waited and leaves the other's answers alone.

#include "tests/router/expert_layer_fixture.h"
#include "tests/router/slow_transport.h"

namespace conclave {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(2);

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

  ManualClock hands_;
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
