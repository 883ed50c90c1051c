// Whatever servers do, in whatever order: names keep their numbers, versions only rise and rise
// with every change of the view, and view, coverage and exactness are those of the members there
// are.

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

#include "gateway/membership.h"
#include "tests/gateway/fake_cluster.h"
#include "tests/support/manual_clock.h"

namespace conclave {
namespace {

class MembershipWorld {
 public:
  explicit MembershipWorld(uint32_t seed) : random_(seed) {}

  void step() {
    clock_.advance(absl::Milliseconds(roll(800)));
    switch (roll(4)) {
      case 0:
        join();
        break;
      case 1:
        if (!members_.empty()) leave(pick());
        break;
      default:
        if (!members_.empty()) beat(pick());
        break;
    }
    for (const ServerId server : membership_.expire()) EXPECT_EQ(members_.erase(server), 1);
    check();
  }

 private:
  struct Member {
    ServerFacts facts;
    bool draining = false;
  };

  uint32_t roll(uint32_t sides) { return random_() % sides; }
  ServerId pick() {
    return std::next(members_.begin(), roll(static_cast<uint32_t>(members_.size())))->first;
  }

  void join() {
    const std::string id(1, static_cast<char>('a' + roll(8)));
    const int32_t first = static_cast<int32_t>(roll(8));
    ServerFacts facts =
        roll(3) == 0 ? attention_node(id) : expert_server(id, experts(first, 1 + roll(8 - first)));
    if (roll(5) == 0) facts.profile.instructions = "avx512";
    const absl::StatusOr<ServerId> server = membership_.join(facts);
    if (!server.ok()) return;
    EXPECT_EQ(members_.count(*server), 0);
    EXPECT_EQ(numbers_.emplace(id, *server).first->second, *server);
    members_[*server] = {.facts = facts};
  }

  void leave(ServerId server) {
    membership_.leave(server);
    members_.erase(server);
  }

  void beat(ServerId server) {
    Member& member = members_.at(server);
    member.draining = roll(3) == 0;
    EXPECT_TRUE(membership_
                    .heartbeat(server, {.draining = member.draining,
                                        .placement_version = membership_.placement().version -
                                                             static_cast<int64_t>(roll(2))})
                    .ok());
  }

  void check() {
    const ClusterView& view = membership_.placement();
    std::vector<PlacedServer> expected;
    ExpertSet missing = ExpertSet::all(four_layers());
    bool exact = true;
    for (const auto& [server, member] : members_) {
      for (const auto& [other_id, other] : members_) {
        exact = exact && agree(member.facts.profile, other.facts.profile).ok();
      }
      if (member.facts.role == ServerRole::kAttentionNode) continue;
      expected.push_back({.server = server,
                          .id = member.facts.id,
                          .address = member.facts.address,
                          .held = member.facts.held,
                          .draining = member.draining});
      missing = missing.minus(member.facts.held);
    }
    EXPECT_EQ(view.servers, expected);
    EXPECT_EQ(membership_.exact(), exact);
    EXPECT_EQ(membership_.coverage().missing, missing);
    EXPECT_EQ(membership_.coverage().num_covered, 24 - missing.size());
    EXPECT_EQ(membership_.members().size(), members_.size());
    const bool changed = view.servers != last_.servers;
    EXPECT_GE(view.version, last_.version + (changed ? 1 : 0));
    last_ = view;
  }

  std::mt19937 random_;
  ManualClock clock_;
  Membership membership_{four_layers(), &clock_, {.weights = kWeights}};
  std::map<std::string, ServerId> numbers_;
  std::map<ServerId, Member> members_;
  ClusterView last_;
};

TEST(MembershipProperty, TheViewIsThatOfTheMembers) {
  for (uint32_t seed = 0; seed < 30; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    MembershipWorld world(seed);
    for (int32_t i = 0; i < 300; ++i) world.step();
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace conclave
