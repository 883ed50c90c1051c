// A whole cluster in one thread of control, driven by a seed.
//
// Real classes: RequestTable, NodePool and LiveRequest at the gateway; Membership at control; at
// every attention node Engine, Scheduler, LatentCache, LayerWalk, ExpertLayer with its placement
// and ReplicaHealth; at every expert server ExpertBatcher and ExpertEngine; a tiny model with real
// kernels, so that bits can be compared. Simulated: time (virtual_time.h), the network
// (sim_network.h), processes (sim_process.h), the step thread (sim_task.h), and what services/ does
// around those classes, which sim_control, sim_control_client, sim_expert_server, sim_node and
// sim_frontend do again in few lines each.
//
// A world runs in three parts. While clients come, faults begin and end (scenario.h). Then all is
// mended, and every request has to come to its end within kDrain of virtual time. Then the world
// rests for a while and is looked over. What must hold:
//
//   every word that a client hears is what one engine says alone (sim_client.h): no id is lost,
//     doubled or another, whatever was killed;
//   an accepted request ends with its whole answer, or by its own doing or deadline; never refused
//     after it was accepted;
//   no expert server answers for an expert that it lacks (sim_expert_server.h);
//   in the end all cache pages are free, the table and the nodes are empty, control knows all
//     servers and every node uses its last placement; no task is stuck, nothing runs for ever.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "tests/simulation/scenario.h"
#include "tests/simulation/sim_client.h"

namespace conclave {

class SimWorld {
 public:
  // `scenario` outlives the world.
  SimWorld(const Scenario* scenario, Sabotage sabotage);

  void run();

  const SimLog& log() const { return log_; }
  const VirtualTime& time() const { return time_; }

  const SimCounts& counts() const { return counts_; }

 private:
  static constexpr absl::Duration kDrain = absl::Minutes(4);
  static constexpr absl::Duration kRest = absl::Seconds(20);
  static constexpr int64_t kMostEvents = 4'000'000;

  void start_all();
  void begin(const Fault& fault);
  void finish(const Fault& fault);
  void begin_at_server(const Fault& fault, size_t which);
  void begin_at_node(const Fault& fault, SimNode* node);
  void begin_at_gateway(const Fault& fault);
  void begin_in_network(const Fault& fault);
  void kill_gateway(FaultKind which);
  void start_gateway();
  void restart_server(size_t which, const ExpertSet& held);
  void mend();
  void run_until(absl::Time until);
  bool all_ended() const;

  // sim_invariants.cc
  void look_over();
  void look_over_nodes();
  void look_over_control();
  void look_over_clients();

  SimProcess* process(int32_t which);

  const Scenario& scenario_;
  VirtualTime time_;
  SimLog log_{&time_};
  SimNetwork network_;
  SimCounts counts_;
  const SimWorldParts parts_;
  SimControl control_;
  std::vector<std::unique_ptr<SimExpertServer>> servers_;
  std::vector<std::unique_ptr<SimNode>> nodes_;
  SimFrontend frontend_;
  std::vector<SimAnswer> answers_;
  std::deque<SimClient> clients_;
  std::vector<SimProcess*> processes_;  // all
};

}  // namespace conclave
