// What control has managed expert servers hold: plans who is to hold what (router's
// replica_planner), and brings the cluster there by orders, without a moment at which an expert
// that was held is held by nobody.
//
//   load       an order names more than the server holds; it loads, says so, and the view has it
//   release    the view names the server no more (withdrawn); once every attention node uses a view
//              that says so, an order names less than the server holds
//
// An expert is withdrawn only while as many others as are asked for, and do not drain, are in the
// view with it; one other is enough where the server is full and has to make room. Full servers
// that each have to give what only the other has cannot: a plan that does not get on is made anew,
// of what must move alone. A server gets its next order when it goes by the one before
// (ServerOrders says what that makes of the view).
//
// It plans anew when servers come, go, drain or fail to load, as soon as no more of that has
// happened for a moment, or for some moments where it does not end; and now and then for the load
// alone. No orders are given while a plan is being made. Servers that are not managed are planned
// around. All of it is soft state: after a restart the
// servers' own words are enough.
//
// One thread calls it. A heartbeat costs what it carries; update() costs S * L * E / 64 and what
// moves where something is under way, next to nothing otherwise.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"
#include "common/ids.h"
#include "gateway/membership.h"
#include "gateway/placement/plan_maker.h"
#include "gateway/placement/server_orders.h"
#include "gateway/server_facts.h"
#include "model/config/model_config.h"
#include "model/weights/expert_set.h"
#include "router/placement_plan/load_stats.h"
#include "router/placement_plan/replica_planner.h"

namespace conclave {

class PlacementControl {
 public:
  struct Options {
    int32_t min_replicas = 1;                          // servers per expert, where they fit
    double spare = 0.125;                              // more copies, of hot experts: share of all
    absl::Duration settle = absl::Seconds(1);          // without a change, before a plan
    absl::Duration repair = absl::Milliseconds(200);   // the same while an expert has no holder
    absl::Duration grace = absl::Seconds(3);           // from the start, for servers to come back
    absl::Duration rebalance = absl::Seconds(60);      // between plans for the load alone
    absl::Duration problem_pause = absl::Seconds(30);  // before one that could not load is asked
    absl::Duration patience = absl::Minutes(2);        // with a plan that does not get on
  };
  struct Order {
    ServerId server{};
    ExpertOrder order;
  };
  struct Stats {
    int64_t num_plans = 0;    // made since the start
    int64_t num_pending = 0;  // experts that are to be loaded or released somewhere, by the plan
    absl::Duration stuck;     // since a server held something else; zero where none are pending
    int64_t num_short = 0;    // experts that do not fit min_replicas times
  };

  // All outlive the control.
  struct Parts {
    const Clock* clock = nullptr;
    Membership* membership = nullptr;
    PlanMaker* planner = nullptr;
  };

  PlacementControl(const ModelConfig& config, const Parts& parts, const Options& options);

  // What the membership was told, which knows already.
  void joined(ServerId server, const ServerFacts& facts);
  void left(ServerId server);
  void heard(ServerId server, const Heartbeat& beat);

  // What to tell whom now. May change the placement. To be called twice a second or more often, and
  // when a plan is made.
  std::vector<Order> update();

  // Experts that the server is ordered to load and does not hold yet, or holds and is ordered to
  // release.
  int64_t num_to_load(ServerId server) const;
  int64_t num_to_release(ServerId server) const;
  Stats stats() const;

 private:
  struct Server {
    bool managed = false;
    bool draining = false;
    int64_t num_slots = 0;  // experts that it has room for
    ServerOrders orders;
    ExpertSet target;             // by the plan
    int64_t leaving_version = 0;  // of the view that named what leaves no more

    std::string problem;        // why it could not load, as it said last
    int64_t problem_order = 0;  // the order that it said so of
    absl::Time closed_until = absl::InfinitePast();
    bool is_to_be_told = false;  // the same again: it may load now

    // [L * E] told last, -1: never. What was picked before the first word, nobody knows when.
    std::vector<int64_t> picks;
  };
  // Of each expert, [L * E].
  struct Copies {
    std::vector<int32_t> in_view;  // servers that do not drain
    std::vector<int32_t> wanted;   // by the plan
  };

  // placement_control.cc: what is known, and when to plan
  void servers_changed();
  void take_problem(const Holding& holding, Server* server);
  void count_picks(const Holding& holding, Server* server);
  void reopen(absl::Time now);
  bool is_time_to_plan(absl::Time now) const;
  bool is_worth_balancing(absl::Time now) const;
  bool is_settled() const;

  // placement_plans.cc: what to plan
  void start_plan(absl::Time now);
  void adopt(PlacementPlan plan);
  PlanInput plan_input(absl::Time now) const;
  std::vector<double> load_to_plan_by(absl::Time now) const;
  int64_t slots_to_use(absl::Time now) const;

  // placement_orders.cc: the way there
  std::vector<Order> make_orders();
  Copies count_copies() const;
  void choose_leaving(ServerId id, Server* server, Copies* copies);
  void tell_view(ServerId id, const Server& server);
  ExpertSet next_hold(const Server& server, const Copies& copies) const;
  int64_t count_pending() const;
  int32_t num_needed(size_t place, const Copies& copies) const;
  size_t place(int32_t layer_idx, int32_t expert) const;

  const Options options_;
  const ExpertSet all_;
  const Clock* const clock_;
  Membership* const membership_;
  PlanMaker* const planner_;
  const absl::Time started_;

  std::map<ServerId, Server> servers_;
  ExpertLoadStats load_;
  bool plan_is_old_ = false;
  bool may_have_orders_ = false;  // something has changed since there were none
  absl::Time first_change_;       // of those that made the plan old
  absl::Time last_change_;
  bool is_planning_ = false;
  absl::Time planned_at_ = absl::InfinitePast();
  int64_t num_plans_ = 0;
  int64_t num_short_ = 0;
  int64_t num_pending_ = 0;
  absl::Time progress_at_;
};

}  // namespace conclave
