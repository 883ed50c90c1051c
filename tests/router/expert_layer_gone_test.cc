// A server that leaves the cluster while a step waits for it is waited for no longer; one that the
// last view still names is, and so is everybody while no other view has come.

#include "tests/router/hedge_fixture.h"

namespace conclave {
namespace {

constexpr int64_t kVersion = 1;  // of main_and_spares()

ClusterView view_of(int64_t version, const std::vector<ServerId>& servers) {
  ClusterView view{.version = version, .servers = {}};
  for (const ServerId server : servers) view.servers.push_back({.server = server});
  return view;
}

// Tells `members` of a view at a time, while the layer waits.
class TellingTransport final : public Transport {
 public:
  TellingTransport(Transport* transport, ManualClock* clock, NewestMembers* members)
      : transport_(transport), clock_(clock), members_(members) {}

  absl::Time time = absl::InfiniteFuture();
  ClusterView view;

  void send(const LegRequest& request, LegReply* reply) override {
    transport_->send(request, reply);
  }
  bool wait(absl::Time until) override {
    const bool any = transport_->wait(std::min(until, time));
    if (clock_->now() < time) return any;
    time = absl::InfiniteFuture();
    members_->update(view);
    return any;
  }
  void cancel(LegReply* reply, absl::Status status) override {
    transport_->cancel(reply, std::move(status));
  }

 private:
  Transport* const transport_;
  ManualClock* const clock_;
  NewestMembers* const members_;
};

class GoneServerTest : public HedgeTest {
 protected:
  void use(Placement placement) {
    ExpertLayer::Parts parts = this->parts();
    parts.transport = &telling_;
    parts.clock = &hands_;
    parts.members = &members_;
    layer_ = *ExpertLayer::create(parts, std::move(placement),
                                  {.max_tokens = kMaxTokens, .leg_timeout = kTimeout});
    slow_.silent = {kMain};
  }

  // A layer of rows that only the main server can answer; how long it took.
  absl::Duration wait_in_vain() {
    const absl::Time before = hands_.now();
    const Matrix<float> x = random_rows(3, /*seed=*/6);
    EXPECT_TRUE(run(layer_.get(), x.view()).ok());
    EXPECT_EQ(step_.faults.size(), 3u);
    for (const auto& fault : step_.faults) {
      EXPECT_EQ(fault.status.code(), absl::StatusCode::kUnavailable) << fault.status;
    }
    expect_nothing_away();
    return hands_.now() - before;
  }

  NewestMembers members_;
  TellingTransport telling_{&slow_, &hands_, &members_};
};

TEST_F(GoneServerTest, IsGivenUp) {
  use(main_and_spares(0));
  telling_.time = hands_.now() + absl::Seconds(3);
  telling_.view = view_of(kVersion + 1, {kSpare});
  const absl::Duration took = wait_in_vain();
  EXPECT_GE(took, absl::Seconds(3));
  EXPECT_LT(took, absl::Seconds(4));
}

TEST_F(GoneServerTest, IsGivenUpByAnOlderViewToo) {
  use(main_and_spares(0));
  telling_.time = hands_.now() + absl::Seconds(3);
  telling_.view = view_of(kVersion - 1, {kSpare});  // of a control that began anew
  EXPECT_LT(wait_in_vain(), absl::Seconds(4));
}

TEST_F(GoneServerTest, OneThatIsStillNamedIsWaitedFor) {
  use(main_and_spares(0));
  telling_.time = hands_.now() + absl::Seconds(3);
  telling_.view = view_of(kVersion + 1, {kMain, kSpare});
  EXPECT_EQ(wait_in_vain(), kTimeout);
}

TEST_F(GoneServerTest, TheViewThatIsUsedSaysNothingNew) {
  use(main_and_spares(0));
  members_.update(view_of(kVersion, {}));
  EXPECT_EQ(wait_in_vain(), kTimeout);
}

// Nobody waits again: neither the layers to come nor a half of the batch that is on its way.
TEST_F(GoneServerTest, IsGivenUpOncePerPlacement) {
  use(main_and_spares(0));
  const Matrix<float> x = random_rows(3, /*seed=*/6);
  ExpertStep other_half;
  ASSERT_TRUE(layer_->begin(kLayer, x.view(), &other_half).ok());
  telling_.time = hands_.now() + absl::Seconds(3);
  telling_.view = view_of(kVersion + 1, {kSpare});
  const Matrix<float> y = random_rows(3, /*seed=*/7);
  ASSERT_TRUE(run(layer_.get(), y.view()).ok());
  const absl::Time before = hands_.now();
  ASSERT_TRUE(layer_->finish(&other_half, out_.view()).ok());
  EXPECT_EQ(other_half.faults.size(), 3u);
  EXPECT_EQ(wait_in_vain(), absl::ZeroDuration());
  EXPECT_EQ(hands_.now(), before);

  slow_.silent.clear();
  Placement back = main_and_spares(0);
  layer_->set_placement(std::move(back));
  members_.update(view_of(kVersion, {kMain}));
  expect_untroubled(layer_.get());
}

// Sooner than the patience with a server whose times are not known.
TEST_F(GoneServerTest, OthersTakeItsPicks) {
  use(main_and_spares(1));
  telling_.time = hands_.now() + absl::Milliseconds(50);
  telling_.view = view_of(kVersion + 1, {kSpare});
  EXPECT_LT(run_on(), ReplicaHealth::kFirstPatience);
}

// Between a late server and its hedges; whoever is left is asked before the late one's patience is
// over.
class GoneInARaceTest : public GoneServerTest {
 protected:
  static constexpr absl::Duration kUsual = absl::Milliseconds(80);

  absl::Duration run_until_these_are_left(const std::vector<ServerId>& left) {
    use(main_and_spares(2));
    slow_.silent.clear();
    slow_.delay[kMain] = kUsual;
    for (int i = 0; i < 20; ++i) expect_untroubled(layer_.get());
    forget();
    slow_.silent = {kMain, kSpare};
    telling_.time = hands_.now() + ReplicaHealth::kHedge * kUsual + absl::Milliseconds(1);
    telling_.view = view_of(kVersion + 1, left);
    return run_on();
  }
};

TEST_F(GoneInARaceTest, TheLateOneAndAHedge) {
  EXPECT_LT(run_until_these_are_left({kOther}), ReplicaHealth::kPatience * kUsual);
  EXPECT_THAT(reports_.hedges, testing::ElementsAre(HedgeOutcome::kTookOver));
}

// What it could not answer is asked of the others when the late one has had its time.
TEST_F(GoneInARaceTest, AHedge) {
  EXPECT_EQ(run_until_these_are_left({kOther, kMain}), ReplicaHealth::kPatience * kUsual);
  EXPECT_THAT(reports_.hedges, testing::ElementsAre(HedgeOutcome::kDropped));
}

}  // namespace
}  // namespace conclave
