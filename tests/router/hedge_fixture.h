// A layer whose main server is asked for everything, and may be late; others stand by.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "tests/router/replica_fixture.h"

namespace conclave {

inline constexpr ServerId kMain{1};   // is asked for everything
inline constexpr ServerId kSpare{0};  // drains, and so is asked where the main one is not
inline constexpr ServerId kOther{2};  // one more that drains, in some tests
inline constexpr absl::Duration kDelay = ReplicaHealth::kLeastHedgeDelay;

inline Placement main_and_spares(int32_t num_spares) {
  Placement placement(2, kNumExperts, 1);
  for (int32_t e = 0; e < kNumExperts; ++e) {
    placement.add(kLayer, e, kMain);
    if (num_spares >= 1) placement.add(kLayer, e, kSpare, /*draining=*/true);
    if (num_spares == 2) placement.add(kLayer, e, kOther, /*draining=*/true);
  }
  return placement;
}

class HedgeTest : public SlowReplicaTest {
 protected:
  // A layer that knows how long its main server takes: no time.
  void use(Placement placement) {
    layer_ = slow_layer(std::move(placement));
    for (int i = 0; i < 20; ++i) expect_untroubled(layer_.get());
    forget();
  }
  void forget() {
    reports_.all.clear();
    reports_.hedges.clear();
    reports_.num_moved = 0;
    slow_.num_sent = 0;
  }

  // One more layer; how long it took.
  absl::Duration run_on() {
    const absl::Time before = hands_.now();
    expect_untroubled(layer_.get());
    expect_nothing_away();
    return hands_.now() - before;
  }
  void expect_nothing_away() {
    EXPECT_EQ(slow_.num_away(), 0u);
    EXPECT_EQ(reports_.all.size(), static_cast<size_t>(slow_.num_sent));
    for (int32_t s = 0; s < kNumExperts; ++s) {
      EXPECT_EQ(layer_->health().picks_away(ServerId{s}), 0) << "server " << s;
    }
  }

  // How the legs to a server ended.
  std::vector<absl::StatusCode> ends_at(ServerId server) const {
    std::vector<absl::StatusCode> codes;
    for (const LegReport& report : reports_.all) {
      if (report.server == server) codes.push_back(report.status.code());
    }
    return codes;
  }
  bool is_avoided(ServerId server) const { return layer_->health().is_avoided(server); }
  FakeExpertServer::Tricks& tricks(ServerId server) {
    return servers_[static_cast<int32_t>(server)].tricks;
  }

  std::unique_ptr<ExpertLayer> layer_;
};

inline constexpr absl::StatusCode kOk = absl::StatusCode::kOk;
inline constexpr absl::StatusCode kCancelled = absl::StatusCode::kCancelled;

}  // namespace conclave
