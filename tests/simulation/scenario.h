// What happens in one simulated world, as a value made from a seed: which processes there are, what
// clients ask and when, and what goes wrong.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "model/weights/expert_set.h"
#include "tests/simulation/sim_client.h"
#include "tests/simulation/sim_expert_server.h"
#include "tests/simulation/sim_network.h"
#include "tests/simulation/sim_node.h"

namespace conclave {

enum class FaultKind : uint8_t {
  kKillServer,  // started again at the fault's end
  kKillNode,
  kKillControl,  // with kKillFrontend where both are one process
  kKillFrontend,
  kStopServer,  // SIGSTOP, then SIGCONT
  kStopNode,
  kStopControl,
  kStopFrontend,
  kDrainServer,  // SIGTERM; killed at the fault's end where it is still there
  kDrainNode,
  kCut,            // between two processes
  kIsolate,        // one from all others
  kReset,          // connections between a node and a server, once
  kLoseLegs,       // some of all
  kDamageAnswers,  // the same
  kSlowServer,
  kFullServer,
  kOtherExperts,    // a server is started again with other experts
  kReleaseExperts,  // a running server releases some, and control does not know
};

inline constexpr int kNumFaultKinds = static_cast<int>(FaultKind::kReleaseExperts) + 1;

struct Fault {
  FaultKind kind{};
  absl::Duration at;
  absl::Duration lasts;
  int32_t a = 0;  // which server, node or process; indices are taken modulo how many there are
  int32_t b = 0;
  double strength = 0;  // how slow, how many legs

  std::string to_string() const;
};

struct ScenarioServer {
  SimExpertServer::Options options;
  ExpertSet held;
  ExpertSet other;  // for kOtherExperts and kReleaseExperts
};

struct Scenario {
  uint64_t seed = 0;
  bool one_gateway = false;  // frontend and control are one process
  int32_t max_queued = 64;
  absl::Duration clock_skew;  // of a control that is started again
  PlacementControl::Options placement;
  SimNetwork::Options network;
  double doubling = 0;  // of legs
  std::vector<SimNode::Options> nodes;
  std::vector<ScenarioServer> servers;
  std::vector<ClientPlan> clients;
  std::vector<Fault> faults;

  // When the last fault is over.
  absl::Duration end_of_faults() const;
};

Scenario make_scenario(uint64_t seed);

}  // namespace conclave
