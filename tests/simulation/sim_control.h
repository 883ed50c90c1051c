// The control role as a simulated process: a real Membership and PlacementControl, and around it
// what services/gateway/control_service.cc and cluster_state.cc do with calls: servers' lines,
// watchers of placements and of nodes, the look for silent members, and the wait of one that has
// just started.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/membership.h"
#include "gateway/placement/placement_control.h"
#include "tests/simulation/sim_process.h"
#include "tests/simulation/sim_world_parts.h"

namespace conclave {

// What control says on a server's line; all run in the server's process.
struct ControlVoice {
  std::function<void()> welcome;
  std::function<void(const ExpertOrder&)> order;
  std::function<void()> goodbye;
};

// The nodes, and what the cluster lacks, in words.
using TellNodes = std::function<void(const std::vector<NodeInfo>&, const std::string&)>;
using TellView = std::function<void(const ClusterView&)>;

class SimControl {
 public:
  static constexpr absl::Duration kHeartbeat = absl::Milliseconds(500);

  SimControl(const SimWorldParts& parts, const PlacementControl::Options& placement)
      : parts_(parts), placement_options_(placement), process_(parts.time, "control") {}

  // `skew`: how far its clock is off, from which versions go on.
  void start(absl::Duration skew);
  void kill();

  SimProcess* process() { return &process_; }
  const Membership& membership() const { return state_->membership; }
  const PlacementControl& placement() const { return state_->placement; }

  // The doors; all run in this process.
  void on_line(StreamId line);
  void hello(StreamId line, ServerFacts facts, ControlVoice voice);
  void beat(StreamId line, const Heartbeat& beat);
  void watch_placement(StreamId stream, TellView tell);
  // `inside`: the frontend is a part of this process and hears at once what there is.
  void watch_nodes(StreamId stream, TellNodes tell, bool inside);

 private:
  struct Line {
    std::optional<ServerId> member;
    ControlVoice voice;
    bool said_goodbye = false;
  };
  struct NodeWatcher {
    TellNodes tell;
    bool inside = false;
  };
  // Of one incarnation.
  struct State {
    State(const VirtualTime* time, int64_t first_version, const PlacementControl::Options& options);

    Membership membership;
    PlanMakerHere planner;
    PlacementControl placement;
    absl::Time settled_at;
    int64_t version = -1;  // that was announced
    std::map<StreamId, Line> lines;
    std::map<StreamId, TellView> view_watchers;
    std::map<StreamId, NodeWatcher> node_watchers;
  };

  bool publishes_nodes() const { return parts_.time->now() >= state_->settled_at; }
  bool publishes_placement() const;
  void members_changed();
  void give_orders();
  void tick();
  void gone(StreamId line);
  void end(StreamId line, const absl::Status& status);
  void push_view(StreamId stream, const TellView& tell);
  void push_nodes(StreamId stream, const NodeWatcher& watcher);

  const SimWorldParts parts_;
  const PlacementControl::Options placement_options_;
  SimProcess process_;
  std::unique_ptr<State> state_;  // while it lives
};

}  // namespace conclave
