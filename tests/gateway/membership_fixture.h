// A membership with a clock that the test holds.
#pragma once

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "gateway/membership.h"
#include "tests/gateway/fake_cluster.h"
#include "tests/support/manual_clock.h"

namespace conclave {

class MembershipTest : public testing::Test {
 protected:
  ServerId join(ServerFacts facts) {
    const absl::StatusOr<ServerId> server = membership_.join(std::move(facts));
    EXPECT_TRUE(server.ok()) << server.status();
    return server.ok() ? *server : kNoServer;
  }
  absl::Status refusal(ServerFacts facts) {
    const int64_t version = membership_.placement().version;
    const absl::Status status = membership_.join(std::move(facts)).status();
    EXPECT_EQ(membership_.placement().version, version);
    return status;
  }
  void beat(ServerId server, Heartbeat heartbeat = {}) {
    const absl::Status status = membership_.heartbeat(server, std::move(heartbeat));
    EXPECT_TRUE(status.ok()) << status;
  }
  void drain(ServerId server) { beat(server, {.draining = true}); }
  int64_t version() const { return membership_.placement().version; }
  // As the loop does: it looks often.
  void pass(absl::Duration duration) {
    for (; duration > absl::ZeroDuration(); duration -= absl::Milliseconds(500)) {
      clock_.advance(absl::Milliseconds(500));
      for (const ServerId server : membership_.expire()) gone_.push_back(server);
    }
  }

  ManualClock clock_;
  std::vector<ServerId> gone_;
  Membership membership_{four_layers(), &clock_, {.weights = kWeights, .first_version = 100}};
};

}  // namespace conclave
