#include "router/placement_plan/level.h"

#include <algorithm>
#include <numeric>

namespace conclave {
namespace {

// How many of the moves that lack a slot are tried, best first.
constexpr size_t kMaxTries = 8;

}  // namespace

int32_t Leveler::busiest(int32_t layer) const {
  int32_t busiest = 0;
  for (int32_t s = 1; s < state_.num_servers(); ++s) {
    if (state_.load(layer, s) > state_.load(layer, busiest)) busiest = s;
  }
  return busiest;
}

bool Leveler::step(int32_t layer) { return relieve(layer, busiest(layer)); }

bool Leveler::step_past_stuck(int32_t layer) {
  std::vector<int32_t> order(static_cast<size_t>(state_.num_servers()));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return state_.load(layer, a) > state_.load(layer, b);
  });
  return std::any_of(order.begin(), order.end(), [&](int32_t s) {
    return state_.load(layer, s) > 1 + freedom_.least_gain && relieve(layer, s);
  });
}

bool Leveler::relieve(int32_t layer, int32_t server) {
  begin(state_.load(layer, server) - freedom_.least_gain);
  for (const int32_t expert : state_.items(layer, server)) consider_cell({layer, expert}, server);
  if (apply_without_room()) return true;
  if (best_) apply(*best_);
  return best_.has_value();
}

void Leveler::consider_cell(Cell cell, int32_t from) {
  for (int32_t to = 0; to < state_.num_servers(); ++to) {
    if (!state_.movable(to) || state_.holds(to, cell)) continue;
    if (state_.load(cell.layer, to) >= limit_) continue;
    if (may_load(to, cell.layer) || may_shift(cell, from, to)) consider_into_room(cell, from, to);
    for (const int32_t expert : state_.items(cell.layer, to)) {
      const Cell other{cell.layer, expert};
      consider_swap(cell, from, to, other);
      consider_over(cell, from, to, other);
    }
  }
}

void Leveler::consider_into_room(Cell cell, int32_t from, int32_t to) {
  const double share = state_.share(cell);
  const double of_one_more = state_.share(cell, state_.num_holders(cell) + 1);
  const double from_load = state_.load(cell.layer, from);
  const double to_load = state_.load(cell.layer, to);
  if (state_.slots(to) == 0) return;
  if (may_shift(cell, from, to)) {
    consider({Kind::kMove, cell, from, to, -1, to_load + share, from_load - share});
  }
  if (may_load(to, cell.layer)) {
    consider(
        {Kind::kCopy, cell, from, to, -1, to_load + of_one_more, from_load - share + of_one_more});
  }
}

void Leveler::consider_swap(Cell cell, int32_t from, int32_t to, Cell other) {
  const double gives = state_.share(cell) - state_.share(other);
  const double from_load = state_.load(cell.layer, from) - gives;
  const double to_load = state_.load(cell.layer, to) + gives;
  if (from_load >= limit_ || (!allows_debt_ && to_load >= limit_)) return;
  if (best_ && std::max(from_load, to_load) >= best_->highest) return;
  if (state_.holds(from, other) || !state_.movable(from)) return;
  if (!is_due_elsewhere(from, cell) || !is_due_elsewhere(to, other)) return;
  consider({Kind::kSwap, cell, from, to, other.expert, to_load, from_load});
}

// `cell` in the place of a surplus replica.
void Leveler::consider_over(Cell cell, int32_t from, int32_t to, Cell other) {
  if (!state_.has_surplus(other) || !may_drop(to, other)) return;
  const double share = state_.share(cell);
  const double of_one_more = state_.share(cell, state_.num_holders(cell) + 1);
  const double raise = state_.raise_without_one(other);
  const double others = highest_without(other, to);  // `from` among them, before it gives
  const double from_load =
      state_.load(cell.layer, from) + (state_.holds(from, other) ? raise : 0.0);
  const double to_load = state_.load(cell.layer, to) - state_.share(other);
  double rest = others;
  if (state_.holds(from, other)) {
    rest = 0;
    for (const int32_t s : state_.holders(other)) {
      if (s != to && s != from) rest = std::max(rest, state_.load(cell.layer, s) + raise);
    }
  }
  if (may_shift(cell, from, to)) {
    consider({Kind::kMoveOver, cell, from, to, other.expert, to_load + share,
              std::max(from_load - share, rest)});
  }
  consider({Kind::kCopyOver, cell, from, to, other.expert, to_load + of_one_more,
            std::max(from_load - share + of_one_more, rest)});
}

void Leveler::consider(Move move) {
  if (move.highest >= limit_) return;
  if (allows_debt_) {
    if (share_moved(move) < limit_) indebted_.push_back(move);
    return;
  }
  move.highest = std::max(move.highest, move.to_load);
  if (move.highest >= limit_) return;
  const bool needs_room = move.kind == Kind::kMove || move.kind == Kind::kCopy;
  if (needs_room && !state_.has_room(move.to)) {
    without_room_.push_back(move);
  } else if (!best_ || move.highest < best_->highest) {
    best_ = move;
  }
}

bool Leveler::may_load(int32_t server, int32_t layer) const {
  if (freedom_.all) return true;
  return freedom_.is_newcomer[server] != 0 &&
         static_cast<int64_t>(state_.items(layer, server).size()) < freedom_.quota[server];
}

bool Leveler::may_shift(Cell cell, int32_t from, int32_t to) const {
  return state_.movable(from) && (is_due_elsewhere(from, cell) || may_load(to, cell.layer));
}

bool Leveler::may_drop(int32_t server, Cell cell) const {
  return freedom_.all || state_.is_new(server, cell);
}

// Whether it may go from `server` to any other, the load being due in any case.
bool Leveler::is_due_elsewhere(int32_t server, Cell cell) const {
  if (freedom_.all) return true;
  const bool is_kept = freedom_.is_newcomer[server] != 0 && !freedom_.all_are_new;
  return state_.is_new(server, cell) && !is_kept;
}

// The highest load among the other holders of a replica once `server` holds it no more.
double Leveler::highest_without(Cell cell, int32_t server) const {
  double highest = 0;
  for (const int32_t s : state_.holders(cell)) {
    if (s != server) highest = std::max(highest, state_.load(cell.layer, s));
  }
  return highest + state_.raise_without_one(cell);
}

void Leveler::apply(const Move& move) {
  const Cell other{move.cell.layer, move.other};
  const bool leaves = move.kind != Kind::kCopy && move.kind != Kind::kCopyOver;
  if (move.other >= 0) state_.remove(move.to, other);
  if (leaves) state_.remove(move.from, move.cell);
  state_.add(move.to, move.cell);
  if (move.kind == Kind::kSwap) state_.add(move.from, other);
}

// The best of the moves that lack a slot, where one is found for it and it is better than those
// that lack none.
bool Leveler::apply_without_room() {
  std::stable_sort(without_room_.begin(), without_room_.end(),
                   [](const Move& a, const Move& b) { return a.highest < b.highest; });
  const size_t num_tries = std::min(without_room_.size(), kMaxTries);
  for (size_t i = 0; i < num_tries; ++i) {
    const Move& move = without_room_[i];
    if (best_ && move.highest > best_->highest - freedom_.least_gain) return false;
    if (apply_with_room(move)) return true;
  }
  return false;
}

// Where it lacks a slot: if one is found for it.
bool Leveler::apply_with_room(const Move& move) {
  const bool needs_room = move.kind == Kind::kMove || move.kind == Kind::kCopy;
  if (!needs_room || state_.has_room(move.to) || make_room_by_drop(move)) {
    apply(move);
    return true;
  }
  return move.kind == Kind::kMove && make_room_by_trade(move);
}

// What servers may have of a layer without being in its way: no more than somebody has anyway, and
// than what somebody must have. The layer may yet become better than it is now.
double Leveler::harmless_load(int32_t layer) {
  double& known = harmless_[static_cast<size_t>(layer)];
  if (known < 0) known = std::min(state_.max_load(layer), std::max(1.0, state_.max_share(layer)));
  return known;
}

void Leveler::begin(double limit) {
  best_.reset();
  without_room_.clear();
  indebted_.clear();
  limit_ = limit;
  harmless_.assign(static_cast<size_t>(state_.num_layers()), -1.0);
}

// A surplus replica of another layer goes: one whose holders stay below what is harmless, else one
// that leaves its layer better off than others_up_to.
bool Leveler::make_room_by_drop(const Move& move) {
  std::optional<Cell> cheapest;
  double least = 0;
  for (const int32_t layer : state_.layers()) {
    if (layer == move.cell.layer) continue;
    for (const int32_t expert : state_.items(layer, move.to)) {
      const Cell other{layer, expert};
      if (!state_.has_surplus(other) || !may_drop(move.to, other)) continue;
      const double after = highest_without(other, move.to);
      if (after <= harmless_load(layer)) {
        state_.remove(move.to, other);
        return true;
      }
      if (after > freedom_.others_up_to) continue;
      const double raise = after - state_.max_load(layer);
      if (cheapest && raise >= least) continue;
      cheapest = other;
      least = raise;
    }
  }
  if (cheapest) state_.remove(move.to, *cheapest);
  return cheapest.has_value();
}

// An expert of another layer goes the other way, where it is harmless.
bool Leveler::make_room_by_trade(const Move& move) {
  if (state_.free_slots(move.to) < 0) return false;
  Cell lightest{-1, -1};
  double least = 0;
  for (const int32_t layer : state_.layers()) {
    if (layer == move.cell.layer) continue;
    double room = -1;
    for (const int32_t expert : state_.items(layer, move.to)) {
      const Cell other{layer, expert};
      if (state_.holds(move.from, other) || !is_due_elsewhere(move.to, other)) continue;
      if (room < 0) room = harmless_load(layer) - state_.load(layer, move.from);
      if (state_.share(other) > room) continue;
      if (lightest.layer >= 0 && state_.share(other) >= least) continue;
      lightest = other;
      least = state_.share(other);
    }
  }
  if (lightest.layer < 0) return false;
  state_.remove(move.to, lightest);
  apply(move);
  state_.add(move.from, lightest);
  return true;
}

}  // namespace conclave
