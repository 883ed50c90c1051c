// How faults begin and end in a simulated world. A fault that makes no sense when its time comes,
// such as killing what is dead, does nothing; neither does its end.

#include "absl/strings/str_cat.h"
#include "tests/simulation/sim_world.h"

namespace conclave {

void SimWorld::begin(const Fault& fault) {
  log_.say("world", absl::StrCat("begins: ", fault.to_string()));
  switch (fault.kind) {
    case FaultKind::kKillServer:
    case FaultKind::kStopServer:
    case FaultKind::kDrainServer:
    case FaultKind::kSlowServer:
    case FaultKind::kFullServer:
    case FaultKind::kOtherExperts:
    case FaultKind::kReleaseExperts:
      return begin_at_server(fault, static_cast<size_t>(fault.a) % servers_.size());
    case FaultKind::kKillNode:
    case FaultKind::kStopNode:
    case FaultKind::kDrainNode:
      return begin_at_node(fault, nodes_[static_cast<size_t>(fault.a) % nodes_.size()].get());
    case FaultKind::kKillControl:
    case FaultKind::kKillFrontend:
    case FaultKind::kStopControl:
    case FaultKind::kStopFrontend:
      return begin_at_gateway(fault);
    case FaultKind::kCut:
    case FaultKind::kIsolate:
    case FaultKind::kReset:
    case FaultKind::kLoseLegs:
    case FaultKind::kDamageAnswers:
      return begin_in_network(fault);
  }
}

void SimWorld::begin_at_server(const Fault& fault, size_t which) {
  SimExpertServer* const server = servers_[which].get();
  if (fault.kind == FaultKind::kSlowServer) return server->set_slowness(1 + 300 * fault.strength);
  if (fault.kind == FaultKind::kFullServer) return server->set_full(true);
  if (!server->process()->alive()) return;
  const ExpertSet& other = scenario_.servers[which].other;
  if (fault.kind == FaultKind::kKillServer) {
    server->kill();
  } else if (fault.kind == FaultKind::kOtherExperts) {
    restart_server(which, other);
  } else if (fault.kind == FaultKind::kStopServer) {
    server->process()->stop();
  } else if (fault.kind == FaultKind::kReleaseExperts) {
    server->load(other);
  } else {
    server->drain();
  }
}

void SimWorld::begin_at_node(const Fault& fault, SimNode* node) {
  if (!node->process()->alive()) return;
  if (fault.kind == FaultKind::kKillNode) {
    node->kill();
  } else if (fault.kind == FaultKind::kStopNode) {
    node->stop();
  } else {
    node->drain();
  }
}

void SimWorld::begin_at_gateway(const Fault& fault) {
  const bool kills =
      fault.kind == FaultKind::kKillControl || fault.kind == FaultKind::kKillFrontend;
  if (kills) return kill_gateway(fault.kind);
  const bool both = scenario_.one_gateway;
  if (both || fault.kind == FaultKind::kStopControl) control_.process()->stop();
  if (both || fault.kind == FaultKind::kStopFrontend) frontend_.process()->stop();
}

void SimWorld::kill_gateway(FaultKind which) {
  const bool both = scenario_.one_gateway;
  if ((both || which == FaultKind::kKillControl) && control_.process()->alive()) control_.kill();
  if ((both || which == FaultKind::kKillFrontend) && frontend_.process()->alive()) {
    frontend_.kill();
  }
}

void SimWorld::start_gateway() {
  if (!control_.process()->alive()) {
    const bool is_first = control_.process()->incarnation() == 0;
    control_.start(is_first ? absl::ZeroDuration() : scenario_.clock_skew);
  }
  if (!frontend_.process()->alive()) frontend_.start();
}

void SimWorld::restart_server(size_t which, const ExpertSet& held) {
  if (servers_[which]->process()->alive()) servers_[which]->kill();
  servers_[which]->start(held);
}

void SimWorld::begin_in_network(const Fault& fault) {
  const SimProcess* const a = process(fault.a);
  if (fault.kind == FaultKind::kIsolate) return network_.cut(a, nullptr);
  if (fault.kind == FaultKind::kCut) return network_.cut(a, process(fault.b));
  if (fault.kind == FaultKind::kLoseLegs) return network_.set_loss(0.1 * fault.strength);
  if (fault.kind == FaultKind::kDamageAnswers) return network_.set_damage(0.1 * fault.strength);
  const auto& node = nodes_[static_cast<size_t>(fault.a) % nodes_.size()];
  const auto& server = servers_[static_cast<size_t>(fault.b) % servers_.size()];
  network_.reset(node->process(), server->process());
}

void SimWorld::finish(const Fault& fault) {
  log_.say("world", absl::StrCat("ends: ", fault.to_string()));
  const size_t which = static_cast<size_t>(fault.a) % servers_.size();
  SimExpertServer* const server = servers_[which].get();
  SimNode* const node = nodes_[static_cast<size_t>(fault.a) % nodes_.size()].get();
  const ExpertSet& held = scenario_.servers[which].held;
  switch (fault.kind) {
    case FaultKind::kKillServer:
      if (!server->process()->alive()) server->start(held);
      return;
    case FaultKind::kOtherExperts:
    case FaultKind::kDrainServer:
      return restart_server(which, held);
    case FaultKind::kReleaseExperts:
      if (server->process()->alive()) server->load(held);
      return;
    case FaultKind::kStopServer:
      if (server->process()->alive()) server->process()->go_on();
      return;
    case FaultKind::kSlowServer:
      return server->set_slowness(1);
    case FaultKind::kFullServer:
      return server->set_full(false);
    case FaultKind::kDrainNode:
      if (node->process()->alive()) node->kill();
      return node->start();
    case FaultKind::kKillNode:
      if (!node->process()->alive()) node->start();
      return;
    case FaultKind::kStopNode:
      if (node->process()->alive()) node->go_on();
      return;
    case FaultKind::kKillControl:
    case FaultKind::kKillFrontend:
      return start_gateway();
    case FaultKind::kStopControl:
    case FaultKind::kStopFrontend:
      if (control_.process()->alive()) control_.process()->go_on();
      if (frontend_.process()->alive()) frontend_.process()->go_on();
      return;
    case FaultKind::kCut:
      return network_.heal(process(fault.a), process(fault.b));
    case FaultKind::kIsolate:
      return network_.heal(process(fault.a), nullptr);
    case FaultKind::kLoseLegs:
      return network_.set_loss(0);
    case FaultKind::kDamageAnswers:
      return network_.set_damage(0);
    case FaultKind::kReset:
      return;
  }
}

}  // namespace conclave
