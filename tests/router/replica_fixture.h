// Layers whose experts have several holders, before servers that may be late.
#pragma once

#include <memory>
#include <utility>

#include "tests/router/expert_layer_fixture.h"
#include "tests/router/slow_transport.h"

namespace conclave {

// Each of them holds everything.
inline Placement everywhere(int32_t num_servers) {
  Placement placement(2, kNumExperts, 1);
  for (int32_t e = 0; e < kNumExperts; ++e) {
    for (int32_t s = 0; s < num_servers; ++s) placement.add(kLayer, e, ServerId{s});
  }
  return placement;
}

class ReplicaLayerTest : public MoeLayerTest {
 protected:
  void expect_untroubled(ExpertLayer* layer) {
    const Matrix<float> x = random_rows(40, /*seed=*/6);
    ASSERT_TRUE(run(layer, x.view()).ok());
    EXPECT_TRUE(step_.faults.empty());
    expect_sums(x.view(), DType::kBF16, DType::kBF16);
  }
};

class SlowReplicaTest : public ReplicaLayerTest {
 protected:
  std::unique_ptr<ExpertLayer> slow_layer(Placement placement) {
    ExpertLayer::Parts parts = this->parts();
    parts.transport = &slow_;
    parts.clock = &hands_;
    return *ExpertLayer::create(parts, std::move(placement),
                                {.max_tokens = kMaxTokens, .leg_timeout = kTimeout});
  }

  // By servers that are full, each time.
  void use_retries(ExpertLayer* layer, int num) {
    for (FakeExpertServer& server : servers_) {
      server.tricks.status = absl::ResourceExhaustedError("full");
    }
    Matrix<float> x(1, kNumCols);
    x.row(0)[0] = x.row(0)[1] = 1.f;
    for (int i = 0; i < num; ++i) ASSERT_TRUE(run(layer, x.view()).ok());
    for (FakeExpertServer& server : servers_) server.tricks = {};
  }

  static constexpr absl::Duration kTimeout = absl::Seconds(10);
  ManualClock hands_;
  SlowTransport slow_{&transport_, &hands_};
};

}  // namespace conclave
