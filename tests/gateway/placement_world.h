// Managed expert servers, attention nodes and control in one thread, for the tests of placement
// control: servers follow orders when their turn comes and load one expert a turn, nodes go over to
// a later view when theirs does. What a server says may be on its way for a while.
//
// After every event it holds what must always be:
//   - an expert that steady servers had in the view stays in it, unless one of its servers went;
//   - the view names with a server only what it holds in truth, whatever it last said;
//   - what a server lets go is named with it by no view that a node uses;
//   - no server is ordered more than it has room for.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gateway/placement/placement_control.h"
#include "tests/gateway/fake_cluster.h"
#include "tests/support/manual_clock.h"

namespace conclave {

// Takes some turns for a plan.
class SlowPlanMaker final : public PlanMaker {
 public:
  void start(PlanInput input, const PlanOptions& options) override {
    EXPECT_FALSE(plan_) << "the plan before was not taken";
    plan_ = plan_placement(input, options);
    turns_left_ = num_turns;
  }
  std::optional<PlacementPlan> take() override {
    if (turns_left_-- > 0) return std::nullopt;
    return std::exchange(plan_, std::nullopt);
  }

  int num_turns = 0;  // that a plan takes

 private:
  int turns_left_ = 0;
  std::optional<PlacementPlan> plan_;
};

class PlacementWorld {
 public:
  static constexpr uint64_t kExpertBytes = 100;
  static constexpr int64_t kNumExperts = 24;  // of the model: three layers of eight

  explicit PlacementWorld(const PlacementControl::Options& options)
      : control_(four_layers(),
                 {.clock = &clock_, .membership = &membership_, .planner = &planner_}, options) {}

  // A server with room for some experts, which it may hold already.
  ServerId join(const std::string& id, int64_t num_slots, ExpertSet held = experts(0, 0),
                bool managed = true) {
    ServerFacts facts = expert_server(id, held);
    facts.capacity_bytes = static_cast<uint64_t>(num_slots) * kExpertBytes;
    facts.held_bytes = static_cast<uint64_t>(held.size()) * kExpertBytes;
    facts.managed = managed;
    facts.expert_bytes = kExpertBytes;
    const ServerId server = *membership_.join(facts);
    control_.joined(server, facts);
    servers_[server] = {.facts = facts, .held = held, .hold = held, .inbox = {}, .said = {}};
    after_event();
    return server;
  }

  void leave(ServerId server) {
    membership_.leave(server);
    control_.left(server);
    servers_.erase(server);
    gone_ = true;
    after_event();
  }

  void drain(ServerId server) {
    servers_.at(server).draining = true;
    beat(server);
  }

  // As if it was told so on a line before this one.
  void goes_on_with(ServerId server, ExpertSet hold) { servers_.at(server).hold = std::move(hold); }

  // From now on it says that it cannot load.
  void break_loading(ServerId server, bool broken) { servers_.at(server).broken = broken; }

  ServerId join_node(const std::string& id) {
    const ServerId node = *membership_.join(attention_node(id));
    nodes_[node] = membership_.placement();
    after_event();
    return node;
  }

  // The node goes over to the newest view and says so.
  void follow_view(ServerId node) {
    nodes_.at(node) = membership_.placement();
    const Heartbeat beat{.placement_version = nodes_.at(node).version};
    EXPECT_TRUE(membership_.heartbeat(node, beat).ok());
    control_.heard(node, beat);
    after_event();
  }

  // The server reads its orders, loads one expert and says what it holds; control hears that when
  // it hears(), or at once.
  void speak(ServerId id);
  void hear(ServerId id);
  void beat(ServerId id) {
    speak(id);
    hear(id);
  }

  void pass(absl::Duration time) {
    clock_.advance(time);
    after_event();
  }

  // Everybody's turn, and half a second. False: nothing is pending.
  bool turn();
  // As often as it takes; fails the test where it does not come to an end.
  void settle();

  const ExpertSet& held(ServerId server) const { return servers_.at(server).held; }
  int64_t num_loads() const { return num_loads_; }
  int64_t num_orders() const { return num_orders_; }
  int num_holders(int32_t layer_idx, int32_t expert) const;
  void expect_copies(int at_least) const;  // of every expert
  std::vector<ServerId> servers() const;
  std::vector<ServerId> nodes() const;

  PlacementControl& control() { return control_; }
  SlowPlanMaker& planner() { return planner_; }
  Membership& membership() { return membership_; }
  std::vector<int64_t>& picks() { return picks_; }  // that every holder answers in a turn, [L * E]

 private:
  struct Server {
    ServerFacts facts;
    ExpertSet held;
    ExpertSet hold;
    std::vector<ExpertOrder> inbox;
    std::vector<Heartbeat> said;  // and not heard yet
    int64_t order = 0;
    bool draining = false;
    bool broken = false;
    std::vector<int64_t> picks = std::vector<int64_t>(32, 0);  // [L * E] answered
  };

  void after_event();
  void follow(ServerId id, const ExpertOrder& order, Server* server);
  void load_one(Server* server);
  Holding holding_of(Server* server);
  ExpertSet steady() const;

  ManualClock clock_;
  Membership membership_{four_layers(), &clock_, {.weights = kWeights}};
  SlowPlanMaker planner_;
  PlacementControl control_;
  std::map<ServerId, Server> servers_;
  std::map<ServerId, ClusterView> nodes_;
  std::vector<int64_t> picks_ = std::vector<int64_t>(32, 0);
  ExpertSet in_view_ = experts(0, 0);
  bool gone_ = false;  // a server, since the last check
  int64_t num_loads_ = 0;
  int64_t num_orders_ = 0;
};

}  // namespace conclave
