#include "tests/gateway/placement_world.h"

namespace conclave {

void PlacementWorld::speak(ServerId id) {
  Server& server = servers_.at(id);
  for (const ExpertOrder& order : std::exchange(server.inbox, {})) follow(id, order, &server);
  load_one(&server);
  server.said.push_back({.draining = server.draining, .holding = holding_of(&server)});
}

void PlacementWorld::hear(ServerId id) {
  for (const Heartbeat& beat : std::exchange(servers_.at(id).said, {})) {
    EXPECT_TRUE(membership_.heartbeat(id, beat).ok());
    control_.heard(id, beat);
    gone_ = gone_ || beat.draining;  // its experts are not steady any more
    after_event();
  }
}

void PlacementWorld::follow(ServerId id, const ExpertOrder& order, Server* server) {
  const ExpertSet gone = server->held.minus(order.hold);
  for (const auto& [node, view] : nodes_) {
    for (const PlacedServer& placed : view.servers) {
      if (placed.server != id) continue;
      EXPECT_EQ(placed.held.minus(gone), placed.held) << "a node still asks for what goes";
    }
  }
  EXPECT_LE(order.hold.size() * static_cast<int64_t>(kExpertBytes),
            static_cast<int64_t>(server->facts.capacity_bytes));
  server->held = server->held.minus(gone);
  server->hold = order.hold;
  server->order = order.order;
}

void PlacementWorld::load_one(Server* server) {
  if (server->broken) return;
  const ExpertSet missing = server->hold.minus(server->held);
  for (int32_t layer = 0; layer < missing.num_layers(); ++layer) {
    for (const ExpertSpan& span : missing.spans(layer)) {
      server->held.insert(layer, span.first);
      ++num_loads_;
      return;
    }
  }
}

Holding PlacementWorld::holding_of(Server* server) {
  Holding holding{.held = server->held,
                  .held_bytes = static_cast<uint64_t>(server->held.size()) * kExpertBytes,
                  .order = server->order,
                  .problem = "",
                  .picks = {}};
  if (server->broken && !server->hold.minus(server->held).empty()) holding.problem = "no room";
  for (int32_t layer = 0; layer < 4; ++layer) {
    for (const ExpertSpan& span : server->held.spans(layer)) {
      for (int32_t e = span.first; e < span.first + span.count; ++e) {
        const auto at = static_cast<size_t>(layer * 8 + e);
        server->picks[at] += picks_[at];
        holding.picks.push_back(server->picks[at]);
      }
    }
  }
  return holding;
}

ExpertSet PlacementWorld::steady() const {
  ExpertSet steady = experts(0, 0);
  for (const PlacedServer& server : membership_.placement().servers) {
    if (!server.draining) steady.insert_all(server.held);
  }
  return steady;
}

void PlacementWorld::after_event() {
  for (const PlacementControl::Order& order : control_.update()) {
    servers_.at(order.server).inbox.push_back(order.order);
    ++num_orders_;
  }
  const ExpertSet now = steady();
  const ExpertSet lost = in_view_.minus(now);
  EXPECT_TRUE(gone_ || lost.empty()) << lost.to_string();
  in_view_ = now;
  gone_ = false;
  for (const PlacedServer& server : membership_.placement().servers) {
    const auto known = servers_.find(server.server);
    if (known == servers_.end()) continue;  // it is about to be
    EXPECT_TRUE(server.held.minus(known->second.held).empty())
        << server.id << " does not hold " << server.held.minus(known->second.held).to_string();
  }
}

bool PlacementWorld::turn() {
  pass(absl::Milliseconds(500));
  for (const ServerId server : servers()) beat(server);
  for (const ServerId node : nodes()) follow_view(node);
  return control_.stats().num_pending > 0;
}

void PlacementWorld::settle() {
  int num_quiet = 0;
  for (int i = 0; i < 1000 && num_quiet < 10; ++i) num_quiet = turn() ? 0 : num_quiet + 1;
  EXPECT_EQ(num_quiet, 10) << control_.stats().num_pending << " are pending";
}

int PlacementWorld::num_holders(int32_t layer_idx, int32_t expert) const {
  int count = 0;
  for (const auto& [id, server] : servers_) count += server.held.contains(layer_idx, expert);
  return count;
}

void PlacementWorld::expect_copies(int at_least) const {
  for (int32_t layer = 1; layer < 4; ++layer) {
    for (int32_t e = 0; e < 8; ++e) {
      EXPECT_GE(num_holders(layer, e), at_least) << "layer " << layer << ", expert " << e;
    }
  }
}

std::vector<ServerId> PlacementWorld::servers() const {
  std::vector<ServerId> ids;
  for (const auto& [id, server] : servers_) ids.push_back(id);
  return ids;
}

std::vector<ServerId> PlacementWorld::nodes() const {
  std::vector<ServerId> ids;
  for (const auto& [id, view] : nodes_) ids.push_back(id);
  return ids;
}

}  // namespace conclave
