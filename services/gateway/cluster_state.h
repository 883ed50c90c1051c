// What the loop of a gateway owns: who is in the cluster, and the requests under way. The services
// translate calls into its functions; every function is for the loop's thread alone.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "gateway/membership.h"
#include "gateway/placement/placement_control.h"
#include "gateway/request_table.h"
#include "services/gateway/grpc_node_link.h"

namespace conclave {

// What clients may be told of the cluster.
struct ClusterSummary {
  bool ready = false;    // every expert of every layer has been seen
  bool covered = false;  // and is held now
  std::string problem;   // what is missing, in words; empty: nothing

  bool operator==(const ClusterSummary&) const = default;
};

// Where the attention nodes and the summary come from: a Membership of this process, or a control
// role elsewhere.
class ClusterState {
 public:
  // All outlive the state; `membership` is null for a frontend.
  struct Parts {
    const Clock* clock = nullptr;
    Membership* membership = nullptr;
    RequestTable* table = nullptr;          // null for a control role without frontend
    GrpcNodeLink* link = nullptr;           // as the table
    PlacementControl* placement = nullptr;  // as the membership
  };

  explicit ClusterState(const Parts& parts)
      : parts_(parts), settled_at_(parts.clock->now() + kSettling) {}

  Membership* membership() { return parts_.membership; }
  PlacementControl* placement() { return parts_.placement; }
  RequestTable* table() { return parts_.table; }

  // The membership was told something: tells the table and the listeners. At once where it makes a
  // difference (Membership::num_changes()); load alone is told together, at most 20 times a second.
  void members_changed();

  // Placement control has a plan: there are orders.
  void plan_made() { tell(); }

  // What control elsewhere says.
  void nodes_changed(const std::vector<NodeInfo>& nodes, const ClusterSummary& summary);

  // Takes out silent members, brings gauges up to date, gives the table its turn. Returns when to
  // call next. May be called as often as one likes: all but the table's turn, which is cheap, waits
  // until it is due.
  absl::Time tick();

  const std::vector<NodeInfo>& nodes() const { return nodes_; }
  const ClusterSummary& summary() const { return summary_; }

  // A control role that has just started waits for the servers that knew the one before it: until
  // they had time to come back, what was published then is better than what is known now. A
  // placement that lacks nothing can go out at once.
  bool publishes_nodes() const { return parts_.clock->now() >= settled_at_; }
  bool publishes_placement() const { return summary_.covered || publishes_nodes(); }

  // Called on the loop's thread after each change; `on_expired` for members that were taken out,
  // `on_order` for what an expert server is told.
  std::function<void()> on_placement = [] {};
  std::function<void()> on_nodes = [] {};
  std::function<void(ServerId)> on_expired = [](ServerId) {};
  std::function<void(const PlacementControl::Order&)> on_order = [](const auto&) {};
  std::function<void()> on_tick = [] {};
  std::function<void()> on_look = [] {};  // as on_tick: for who has to look after something

  absl::Time now() const { return parts_.clock->now(); }

 private:
  absl::Time tick_members(absl::Time now);
  void give_orders();
  void tell();

  static constexpr absl::Duration kSettling = absl::Seconds(3);  // reconnecting takes up to 2 s

  const Parts parts_;
  std::vector<NodeInfo> nodes_;
  ClusterSummary summary_;
  const absl::Time settled_at_;
  int64_t version_ = -1;       // of the placement that was announced
  int64_t changes_told_ = -1;  // of the membership's
  bool load_waits_ = false;    // there is load that was not told
  absl::Time next_tick_ = absl::InfinitePast();
  absl::Time next_load_ = absl::InfinitePast();
  absl::Time next_orders_ = absl::InfinitePast();
  absl::Time orders_until_ = absl::InfinitePast();  // there may be some for a change lately
};

}  // namespace conclave
