// Leveler's way out of dead ends: a server takes more than it may and hands its own on.
//
// A hot expert's copy fits on no server as long as each is filled with others: the third servers
// that could take those play no part in a move between two. Here `to` first gets the copy, and then
// pays: surplus replicas on it go, what is heavy is swapped for what is light elsewhere, until it
// is below the limit. Nobody else may come above the limit on the way.

#include <algorithm>

#include "router/placement_plan/level.h"

namespace conclave {
namespace {

// How many moves are tried that leave somebody with too much, the least of it first.
constexpr int32_t kMaxDebts = 24;

// How many ways of handing one on are tried: of those that lack a slot some find none.
constexpr size_t kMaxPartTries = 8;

}  // namespace

bool Leveler::step_by_displacing(int32_t layer) {
  const int32_t busiest = this->busiest(layer);
  begin(state_.load(layer, busiest) - freedom_.least_gain);
  allows_debt_ = true;
  for (const int32_t expert : state_.items(layer, busiest)) consider_cell({layer, expert}, busiest);
  allows_debt_ = false;
  std::stable_sort(indebted_.begin(), indebted_.end(),
                   [](const Move& a, const Move& b) { return a.to_load < b.to_load; });
  int32_t num_tries = 0;
  for (size_t i = 0; i < indebted_.size() && num_tries < kMaxDebts; ++i) {
    const size_t mark = state_.mark();
    if (!apply_with_room(indebted_[i])) continue;
    ++num_tries;
    if (pay_debt(indebted_[i])) return true;
    state_.undo_to(mark);
  }
  return false;
}

// What of its expert's load `to` is to have: nothing of it can be handed on.
double Leveler::share_moved(const Move& move) const {
  const bool copies = move.kind == Kind::kCopy || move.kind == Kind::kCopyOver;
  return state_.share(move.cell, state_.num_holders(move.cell) + (copies ? 1 : 0));
}

// Every part takes load off `to` and the number of parts is that of its experts at most, so that
// few loads pay.
bool Leveler::pay_debt(const Move& move) {
  const int32_t layer = move.cell.layer;
  const size_t max_parts = state_.items(layer, move.to).size();
  for (size_t i = 0; i <= max_parts; ++i) {
    if (state_.load(layer, move.to) < limit_) return true;
    if (!drop_part(move) && !pay_part(move)) return false;
  }
  return false;
}

// A surplus replica on `to` goes where its other holders can bear it: that costs no load.
bool Leveler::drop_part(const Move& move) {
  for (const int32_t expert : state_.items(move.cell.layer, move.to)) {
    const Cell cell{move.cell.layer, expert};
    if (cell == move.cell || !state_.has_surplus(cell) || !may_drop(move.to, cell)) continue;
    if (highest_without(cell, move.to) >= limit_) continue;
    state_.remove(move.to, cell);
    return true;
  }
  return false;
}

// One expert of `to` goes elsewhere, for a lighter one, in the place of a surplus replica or into
// room: if one is enough, such that both are level; else the most that can be given.
bool Leveler::pay_part(const Move& move) {
  std::vector<Move> parts;
  for (const int32_t expert : state_.items(move.cell.layer, move.to)) {
    const Cell cell{move.cell.layer, expert};
    if (cell == move.cell) continue;
    for (int32_t s = 0; s < state_.num_servers(); ++s) {
      if (s == move.to || !state_.movable(s) || state_.holds(s, cell)) continue;
      consider_part(cell, move.to, s, &parts);
    }
  }
  std::stable_sort(parts.begin(), parts.end(),
                   [](const Move& a, const Move& b) { return a.highest < b.highest; });
  const size_t num_tries = std::min(parts.size(), kMaxPartTries);
  return std::any_of(parts.begin(), parts.begin() + static_cast<ptrdiff_t>(num_tries),
                     [&](const Move& part) { return apply_with_room(part); });
}

void Leveler::consider_part(Cell cell, int32_t from, int32_t to, std::vector<Move>* parts) const {
  const double share = state_.share(cell);
  const double from_load = state_.load(cell.layer, from);
  const double to_load = state_.load(cell.layer, to);
  const auto offer = [&](Kind kind, int32_t other, double gives, double gets) {
    const double to_after = to_load + gets;
    if (gives <= freedom_.least_gain || to_after >= limit_) return;
    const double rest = from_load - gives;
    parts->push_back(
        {kind, cell, from, to, other, to_after, rest < limit_ ? std::max(rest, to_after) : rest});
  };
  const bool may_go = may_shift(cell, from, to);
  if (may_go && state_.slots(to) > 0) offer(Kind::kMove, -1, share, share);
  for (const int32_t expert : state_.items(cell.layer, to)) {
    const Cell other{cell.layer, expert};
    const double share_of_other = state_.share(other);
    if (may_go && state_.has_surplus(other) && may_drop(to, other) && !state_.holds(from, other) &&
        highest_without(other, to) < limit_) {
      offer(Kind::kMoveOver, expert, share, share - share_of_other);
    }
    if (state_.holds(from, other)) continue;
    if (!is_due_elsewhere(from, cell) || !is_due_elsewhere(to, other)) continue;
    offer(Kind::kSwap, expert, share - share_of_other, share - share_of_other);
  }
}

}  // namespace conclave
