#include "router/placement_plan/rebuild.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "router/placement_plan/copy_counts.h"
#include "router/placement_plan/fill.h"

namespace conclave {
namespace {

// How many servers are emptied: the busiest, some of the lightest, some of any.
constexpr int32_t kNumLightest = 4;
constexpr int32_t kNumOthers = 3;

int32_t below(std::minstd_rand* random, int32_t end) {
  return static_cast<int32_t>((*random)() % static_cast<uint32_t>(end));
}

std::vector<int32_t> pick_servers(const PlanState& state, int32_t layer, std::minstd_rand* random) {
  std::vector<int32_t> order;
  for (int32_t s = 0; s < state.num_servers(); ++s) {
    if (state.movable(s)) order.push_back(s);
  }
  const auto num_servers = static_cast<int32_t>(order.size());
  if (num_servers < 2) return {};
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return state.load(layer, a) > state.load(layer, b);
  });
  std::vector<int32_t> picked = {order.front()};
  for (int32_t i = 0; i < kNumLightest; ++i) {
    picked.push_back(order[num_servers - 1 - below(random, std::min(num_servers, 12))]);
  }
  for (int32_t i = 0; i < kNumOthers; ++i) picked.push_back(order[below(random, num_servers)]);
  std::sort(picked.begin(), picked.end());
  picked.erase(std::unique(picked.begin(), picked.end()), picked.end());
  return picked;
}

// Empties them of the layer. How many copies went.
int64_t empty(PlanState* state, int32_t layer, const std::vector<int32_t>& servers) {
  int64_t num_copies = 0;
  for (const int32_t s : servers) {
    const std::vector<int32_t> items(state->items(layer, s).begin(), state->items(layer, s).end());
    for (const int32_t expert : items) state->remove(s, {layer, expert});
    num_copies += static_cast<int64_t>(items.size());
  }
  return num_copies;
}

// Gives the layer `num_copies` more: what its experts need, then the hottest. False: there is no
// way to place them.
bool refill(PlanState* state, int32_t layer, const std::vector<int32_t>& least,
            int64_t num_copies) {
  std::vector<int32_t> needed;
  for (int32_t e = 0; e < state->num_experts(); ++e) {
    const int32_t now = state->num_holders({layer, e});
    needed.push_back(std::max(now, least[e]));
    num_copies -= needed.back() - now;
  }
  CopyCounts counts(state, layer, std::move(needed));
  counts.add(num_copies);
  const std::vector<int32_t>& copies = counts.copies();
  const auto share = [&](int32_t e) {
    return copies[e] == 0 ? 0.0 : state->share({layer, e}, copies[e]);
  };
  std::vector<int32_t> order(copies.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return share(a) > share(b); });
  for (const int32_t e : order) {
    while (state->num_holders({layer, e}) < copies[e] && place(state, {layer, e})) {
    }
    if (state->num_holders({layer, e}) < least[e]) return false;
  }
  return true;
}

}  // namespace

LayerRebuild::LayerRebuild(PlanState* state, Leveler* leveler, int32_t layer)
    : state_(*state),
      leveler_(*leveler),
      layer_(layer),
      least_(least_holders(*state, layer)),
      least_load_(conclave::least_load(*state, layer)),
      random_(static_cast<uint32_t>(layer) + 1) {}

double LayerRebuild::over() const { return state_.max_load(layer_) - least_load_; }

bool LayerRebuild::try_once() {
  const double before = state_.max_load(layer_);
  const size_t mark = state_.mark();
  const std::vector<int32_t> servers = pick_servers(state_, layer_, &random_);
  const bool placed = refill(&state_, layer_, least_, empty(&state_, layer_, servers));
  while (placed && leveler_.step(layer_)) {
  }
  if (placed && state_.max_load(layer_) < before) return true;
  state_.undo_to(mark);
  return false;
}

}  // namespace conclave
