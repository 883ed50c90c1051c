// The way from what servers hold to what the plan wants, one safe step at a time.

#include <algorithm>
#include <utility>

#include "gateway/placement/placement_control.h"

namespace conclave {

std::vector<PlacementControl::Order> PlacementControl::make_orders() {
  std::vector<Order> orders;
  const bool is_done = std::all_of(servers_.begin(), servers_.end(), [](const auto& entry) {
    const Server& server = entry.second;
    return !server.managed ||
           (server.held == server.target && server.hold == server.target && server.leaving.empty());
  });
  if (is_done) return orders;
  Copies copies = count_copies();
  for (auto& [id, server] : servers_) {
    if (!server.managed || server.order_followed != server.order_sent) continue;
    if (server.draining) server.target = server.held;  // it keeps what it has until it goes
    choose_leaving(id, &server, &copies);
    ExpertSet hold = next_hold(server, copies);
    if (hold == server.hold) continue;
    server.hold = std::move(hold);
    orders.push_back({.server = id, .order = {.order = ++server.order_sent, .hold = server.hold}});
  }
  return orders;
}

PlacementControl::Copies PlacementControl::count_copies() const {
  const size_t num_places =
      static_cast<size_t>(all_.num_layers()) * static_cast<size_t>(all_.num_experts());
  Copies copies{.in_view = std::vector<int32_t>(num_places, 0),
                .wanted = std::vector<int32_t>(num_places, 0)};
  for (const PlacedServer& server : membership_->placement().servers) {
    if (server.draining) continue;
    server.held.for_each(
        [&](int32_t layer, int32_t expert) { ++copies.in_view[place(layer, expert)]; });
  }
  for (const auto& [id, server] : servers_) {
    if (server.draining) continue;
    server.target.for_each(
        [&](int32_t layer, int32_t expert) { ++copies.wanted[place(layer, expert)]; });
  }
  return copies;
}

// How many others are to be in the view with an expert before one may leave it.
int32_t PlacementControl::num_needed(size_t place, const Copies& copies) const {
  return std::max(1, std::min(options_.min_replicas, copies.wanted[place]));
}

// What the server holds beyond its target is withdrawn as soon as others are there for it, and put
// back where they are no more. Nothing joins those that are on their way out before they are out.
void PlacementControl::choose_leaving(ServerId id, Server* server, Copies* copies) {
  const ExpertSet extra = server->held.minus(server->target);
  // One that is full and lacks something makes room first: with one other copy, if need be.
  const bool makes_room =
      server->held.size() >= server->num_slots && !server->target.minus(server->held).empty();
  const ExpertSet was_leaving = server->leaving.intersect(server->held);
  ExpertSet leaving(all_.num_layers(), all_.num_experts());
  extra.for_each([&](int32_t layer, int32_t expert) {
    const size_t at = place(layer, expert);
    const bool is_in_view = !was_leaving.contains(layer, expert);
    if (is_in_view && !was_leaving.empty()) return;
    const int32_t num_needed = makes_room ? 1 : this->num_needed(at, *copies);
    if (copies->in_view[at] - (is_in_view ? 1 : 0) < num_needed) return;
    if (is_in_view) --copies->in_view[at];
    leaving.insert(layer, expert);
  });
  was_leaving.minus(leaving).for_each(
      [&](int32_t layer, int32_t expert) { ++copies->in_view[place(layer, expert)]; });
  if (leaving == server->leaving) return;
  const bool is_more = !leaving.minus(server->leaving).empty();
  server->leaving = leaving;
  membership_->withdraw(id, std::move(leaving));
  if (is_more) server->leaving_version = membership_->placement().version;
}

// What it holds, less what nobody asks it for any more, and what it lacks as far as there is room:
// what nobody has first.
ExpertSet PlacementControl::next_hold(const Server& server, const Copies& copies) const {
  ExpertSet hold = server.held;
  if (membership_->acknowledged() >= server.leaving_version) hold = hold.minus(server.leaving);
  const ExpertSet missing = server.target.minus(server.held);
  for (const bool must : {true, false}) {
    missing.for_each([&](int32_t layer, int32_t expert) {
      const bool has_none = copies.in_view[place(layer, expert)] == 0;
      if (has_none == must && hold.size() < server.num_slots) hold.insert(layer, expert);
    });
  }
  return hold;
}

int64_t PlacementControl::count_pending() const {
  int64_t num_pending = 0;
  for (const auto& [id, server] : servers_) {
    if (!server.managed || server.draining) continue;
    num_pending += server.target.minus(server.held).size();
    num_pending += server.held.minus(server.target).size();
  }
  return num_pending;
}

}  // namespace conclave
