#include "router/placement_plan/rebuild.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "router/placement_plan/fill.h"

namespace conclave {
namespace {

// Less over the best that can be is no dead end, and more is a bad one.
constexpr double kGoodEnough = 5e-3;
constexpr double kBad = 2e-2;
constexpr int32_t kTriesOfBad = 4;

// How many servers are emptied: the busiest, some of the lightest, some of any.
constexpr int32_t kNumLightest = 4;
constexpr int32_t kNumOthers = 3;

using Random = std::minstd_rand;

int32_t below(Random* random, int32_t end) {
  return static_cast<int32_t>((*random)() % static_cast<uint32_t>(end));
}

double highest_share(const PlanState& state, int32_t layer) {
  double highest = 0;
  for (int32_t e = 0; e < state.num_experts(); ++e) {
    if (state.num_holders({layer, e}) > 0) highest = std::max(highest, state.share({layer, e}));
  }
  return highest;
}

std::vector<int32_t> pick_servers(const PlanState& state, int32_t layer, Random* random) {
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
  std::vector<int32_t> copies;
  for (int32_t e = 0; e < state->num_experts(); ++e) {
    const int32_t now = state->num_holders({layer, e});
    copies.push_back(std::max(now, least[e]));
    num_copies -= copies.back() - now;
  }
  const auto share = [&](int32_t e) {
    return copies[e] == 0 ? 0.0 : state->share({layer, e}, copies[e]);
  };
  std::vector<int32_t> order(copies.size());
  std::iota(order.begin(), order.end(), 0);
  const auto lighter = [&](int32_t a, int32_t b) { return share(a) < share(b); };
  for (; num_copies > 0; --num_copies) {
    const int32_t hottest = *std::max_element(order.begin(), order.end(), lighter);
    if (copies[hottest] >= state->num_servers()) break;
    ++copies[hottest];
  }
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return lighter(b, a); });
  for (const int32_t e : order) {
    while (state->num_holders({layer, e}) < copies[e] && place(state, {layer, e})) {
    }
    if (state->num_holders({layer, e}) < least[e]) return false;
  }
  return true;
}

// The holders that each expert must not fall below.
std::vector<int32_t> least_holders(const PlanState& state, int32_t layer) {
  std::vector<int32_t> least;
  for (int32_t e = 0; e < state.num_experts(); ++e) {
    least.push_back(std::min(state.num_holders({layer, e}), state.min_replicas()));
  }
  return least;
}

}  // namespace

void rebuild_layer(PlanState* state, Leveler* leveler, int32_t layer, int32_t num_tries) {
  Random random(static_cast<uint32_t>(layer) + 1);
  const std::vector<int32_t> least = least_holders(*state, layer);
  for (int32_t i = 0; i < num_tries * kTriesOfBad; ++i) {
    const double before = state->max_load(layer);
    const double over = before - std::max(1.0, highest_share(*state, layer));
    if (over <= (i < num_tries ? kGoodEnough : kBad)) return;
    const size_t mark = state->mark();
    const std::vector<int32_t> servers = pick_servers(*state, layer, &random);
    const bool placed = refill(state, layer, least, empty(state, layer, servers));
    while (placed && leveler->step(layer)) {
    }
    if (!placed || state->max_load(layer) >= before) state->undo_to(mark);
  }
}

}  // namespace conclave
