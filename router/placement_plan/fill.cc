#include "router/placement_plan/fill.h"

#include <algorithm>
#include <queue>
#include <tuple>

namespace conclave {
namespace {

// The least loaded server with room that does not hold it; among equals whoever has most room. -1:
// none.
int32_t best_server(const PlanState& state, Cell cell) {
  int32_t best = -1;
  const auto rank = [&](int32_t s) {
    return std::tuple(state.load(cell.layer, s), -state.free_slots(s));
  };
  for (int32_t s = 0; s < state.num_servers(); ++s) {
    if (!state.has_room(s) || state.holds(s, cell)) continue;
    if (best < 0 || rank(s) < rank(best)) best = s;
  }
  return best;
}

// A copy on a server that takes new and is without `cell`.
struct Victim {
  Cell cell;
  int32_t server = -1;
};

// Of the cells with more than `keep` holders whichever is missed least: surplus before what has
// just enough, then what burdens its other holders least.
Victim find_victim(const PlanState& state, Cell cell, int32_t keep) {
  Victim victim;
  std::tuple<bool, double> least;
  for (const Cell other : state.cells()) {
    if (state.num_holders(other) <= keep) continue;
    const std::tuple cost(!state.has_surplus(other), state.raise_without_one(other));
    if (victim.server >= 0 && cost >= least) continue;
    int32_t lightest = -1;
    for (const int32_t s : state.holders(other)) {
      if (!state.movable(s) || state.holds(s, cell)) continue;
      if (state.free_slots(s) < 0) continue;
      if (lightest < 0 || state.load(cell.layer, s) < state.load(cell.layer, lightest)) {
        lightest = s;
      }
    }
    if (lightest < 0) continue;
    victim = {.cell = other, .server = lightest};
    least = cost;
  }
  return victim;
}

bool place_for_victim(PlanState* state, Cell cell, int32_t keep) {
  const Victim victim = find_victim(*state, cell, keep);
  if (victim.server < 0) return false;
  state->remove(victim.server, victim.cell);
  state->add(victim.server, cell);
  return true;
}

// Where only holders of `cell` have room: a full server hands one of its experts to such a holder.
// This finds room wherever there is any, as all experts want the same number of holders: a server
// whose experts are all on the holder with room has no more of them than it.
bool place_by_handing_on(PlanState* state, Cell cell) {
  for (int32_t to = 0; to < state->num_servers(); ++to) {
    if (!state->has_room(to)) continue;
    for (int32_t from = 0; from < state->num_servers(); ++from) {
      if (!state->movable(from) || state->holds(from, cell)) continue;
      const auto handed = std::find_if(
          state->cells().begin(), state->cells().end(),
          [&](Cell other) { return state->holds(from, other) && !state->holds(to, other); });
      if (handed == state->cells().end()) continue;
      state->remove(from, *handed);
      state->add(to, *handed);
      state->add(from, cell);
      return true;
    }
  }
  return false;
}

std::vector<Cell> heaviest_first(const PlanState& state, int32_t fewer_holders_than) {
  std::vector<Cell> cells;
  for (const Cell cell : state.cells()) {
    if (state.num_holders(cell) < fewer_holders_than) cells.push_back(cell);
  }
  std::stable_sort(cells.begin(), cells.end(),
                   [&](Cell a, Cell b) { return state.weight(a) > state.weight(b); });
  return cells;
}

struct Target {
  Cell cell;
  int32_t copies = 0;
};

// How many copies each expert is to have, [cells]: one, then min_replicas, then more while it is
// hot, the hottest share first.
std::vector<Target> share_out(const PlanState& state, double hot_share) {
  int64_t room = 0;
  int32_t num_open = 0;
  for (int32_t s = 0; s < state.num_servers(); ++s) {
    if (!state.has_room(s)) continue;
    room += state.free_slots(s);
    ++num_open;
  }
  std::vector<Target> targets;
  for (const Cell cell : heaviest_first(state, state.num_servers() + 1)) {
    targets.push_back({.cell = cell, .copies = state.num_holders(cell)});
  }
  for (int32_t wanted = 1; wanted <= std::min(state.min_replicas(), num_open); ++wanted) {
    for (Target& target : targets) {
      if (room == 0 || target.copies >= wanted) continue;
      ++target.copies;
      --room;
    }
  }
  const auto share = [&](size_t i) { return state.share(targets[i].cell, targets[i].copies); };
  std::priority_queue<std::pair<double, int64_t>> hottest;  // equal shares: the first target
  for (size_t i = 0; i < targets.size(); ++i) {
    if (targets[i].copies > 0) hottest.emplace(share(i), -static_cast<int64_t>(i));
  }
  for (; room > 0 && !hottest.empty() && hottest.top().first > hot_share;) {
    const auto i = static_cast<size_t>(-hottest.top().second);
    hottest.pop();
    if (targets[i].copies >= num_open) continue;
    ++targets[i].copies;
    --room;
    hottest.emplace(share(i), -static_cast<int64_t>(i));
  }
  return targets;
}

}  // namespace

bool place(PlanState* state, Cell cell) {
  const int32_t server = best_server(*state, cell);
  if (server < 0) return false;
  state->add(server, cell);
  return true;
}

void trim(PlanState* state) {
  for (int32_t s = 0; s < state->num_servers(); ++s) {
    if (!state->movable(s) || state->free_slots(s) >= 0) continue;
    const auto rank = [&](Cell cell) {
      const bool last = state->num_holders(cell) == 1;
      return std::tuple(last, !state->has_surplus(cell), state->share(cell));
    };
    std::vector<Cell> held;
    for (const Cell cell : state->cells()) {
      if (state->holds(s, cell)) held.push_back(cell);
    }
    std::stable_sort(held.begin(), held.end(), [&](Cell a, Cell b) { return rank(a) < rank(b); });
    for (size_t i = 0; state->free_slots(s) < 0; ++i) state->remove(s, held[i]);
  }
}

void spread_from_nothing(PlanState* state, double hot_share) {
  std::vector<Target> targets = share_out(*state, hot_share);
  std::stable_sort(targets.begin(), targets.end(), [&](const Target& a, const Target& b) {
    return a.copies > 0 &&
           (b.copies == 0 || state->share(a.cell, a.copies) > state->share(b.cell, b.copies));
  });
  for (const Target& target : targets) {
    while (state->num_holders(target.cell) < target.copies && place(state, target.cell)) {
    }
  }
}

void cover(PlanState* state) {
  for (int32_t wanted = 1; wanted <= state->min_replicas(); ++wanted) {
    const int32_t keep = wanted == 1 ? 1 : state->min_replicas();
    for (const Cell cell : heaviest_first(*state, wanted)) {
      if (place(state, cell) || place_for_victim(state, cell, keep)) continue;
      if (wanted > 1) place_by_handing_on(state, cell);
    }
  }
}

}  // namespace conclave
