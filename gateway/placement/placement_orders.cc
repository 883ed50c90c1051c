// The way from what servers hold to what the plan wants, one safe step at a time.

#include <algorithm>
#include <utility>

#include "gateway/placement/placement_control.h"

namespace conclave {

std::vector<PlacementControl::Order> PlacementControl::make_orders() {
  std::vector<Order> orders;
  if (is_settled()) return orders;
  Copies copies = count_copies();
  for (auto& [id, server] : servers_) {
    if (!server.managed || !server.orders.is_followed()) continue;
    if (server.draining) server.target = server.orders.held();  // it keeps what it has
    choose_leaving(id, &server, &copies);
    ExpertSet hold = next_hold(server, copies);
    // It may have loaded what a line before this one asked for.
    const bool has_more = !server.orders.held().minus(hold).empty();
    const bool is_to_be_told = std::exchange(server.is_to_be_told, false) || has_more;
    if (hold == server.orders.hold() && !is_to_be_told) continue;
    orders.push_back({.server = id, .order = server.orders.give(std::move(hold))});
    tell_view(id, server);
  }
  return orders;
}

void PlacementControl::tell_view(ServerId id, const Server& server) {
  membership_->withdraw(id, server.orders.hidden(all_));
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
  const ServerOrders& orders = server->orders;
  const ExpertSet visible = orders.visible();
  const ExpertSet was_leaving = orders.leaving().intersect(orders.held());
  // One that is full and lacks something makes room first: with one other copy, if need be.
  const bool makes_room =
      orders.held().size() >= server->num_slots && !server->target.minus(orders.held()).empty();
  ExpertSet leaving(all_.num_layers(), all_.num_experts());
  orders.held().minus(server->target).for_each([&](int32_t layer, int32_t expert) {
    const size_t at = place(layer, expert);
    const bool is_visible = visible.contains(layer, expert);
    if (is_visible && !was_leaving.empty()) return;
    const int32_t others_needed = makes_room ? 1 : num_needed(at, *copies);
    if (copies->in_view[at] - (is_visible ? 1 : 0) < others_needed) return;
    if (is_visible) --copies->in_view[at];
    leaving.insert(layer, expert);
  });
  was_leaving.minus(leaving).for_each(
      [&](int32_t layer, int32_t expert) { ++copies->in_view[place(layer, expert)]; });
  if (leaving == orders.leaving()) return;
  const bool is_more = !leaving.intersect(visible).empty();
  server->orders.set_leaving(std::move(leaving));
  tell_view(id, *server);
  if (is_more) server->leaving_version = membership_->placement().version;
}

// What it holds, less what nobody asks it for any more, and what it lacks as far as there is room:
// what nobody has first.
ExpertSet PlacementControl::next_hold(const Server& server, const Copies& copies) const {
  ExpertSet hold = server.orders.held();
  if (membership_->acknowledged() >= server.leaving_version) {
    hold = hold.minus(server.orders.leaving());
  }
  const ExpertSet missing = server.target.minus(server.orders.held());
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
    num_pending += server.orders.num_pending(server.target);
  }
  return num_pending;
}

}  // namespace conclave
