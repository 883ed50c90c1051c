#include "router/placement_plan/copy_counts.h"

#include <algorithm>
#include <queue>
#include <utility>

namespace conclave {
namespace {

// Copies of a layer beyond those that its experts must have.
int64_t num_surplus(const PlanState& state, int32_t layer, const std::vector<int32_t>& least) {
  int64_t surplus = 0;
  for (int32_t e = 0; e < state.num_experts(); ++e) {
    surplus += state.num_holders({layer, e}) - least[e];
  }
  return surplus;
}

}  // namespace

CopyCounts::CopyCounts(const PlanState* state, int32_t layer, std::vector<int32_t> copies)
    : state_(*state), layer_(layer), copies_(std::move(copies)) {
  find_hottest();
}

double CopyCounts::share(int32_t expert) const {
  return copies_[expert] == 0 ? 0.0 : state_.share({layer_, expert}, copies_[expert]);
}

void CopyCounts::find_hottest() {
  for (int32_t e = 0; e < state_.num_experts(); ++e) {
    if (share(e) > share(hottest_)) hottest_ = e;
  }
}

bool CopyCounts::can_add() const {
  return highest_share() > 0 && copies_[hottest_] < state_.num_servers();
}

void CopyCounts::add(int64_t num_copies) {
  for (; num_copies > 0 && can_add(); --num_copies) {
    ++copies_[hottest_];
    find_hottest();
  }
}

std::vector<int32_t> least_holders(const PlanState& state, int32_t layer) {
  std::vector<int32_t> least;
  for (int32_t e = 0; e < state.num_experts(); ++e) {
    least.push_back(std::min(state.num_holders({layer, e}), state.min_replicas()));
  }
  return least;
}

double least_load(const PlanState& state, int32_t layer) {
  const std::vector<int32_t> least = least_holders(state, layer);
  CopyCounts counts(&state, layer, least);
  counts.add(num_surplus(state, layer, least));
  return std::max(1.0, counts.highest_share());
}

double least_worst_load(const PlanState& state) {
  int64_t spare = 0;
  for (int32_t s = 0; s < state.num_servers(); ++s) {
    if (state.has_room(s)) spare += state.free_slots(s);
  }
  std::vector<CopyCounts> layers;
  std::priority_queue<std::pair<double, size_t>> worst;
  for (const int32_t layer : state.layers()) {
    const std::vector<int32_t> least = least_holders(state, layer);
    spare += num_surplus(state, layer, least);
    layers.emplace_back(&state, layer, least);
    worst.emplace(layers.back().highest_share(), layers.size() - 1);
  }
  for (; spare > 0 && !worst.empty() && worst.top().first > 1; --spare) {
    const size_t i = worst.top().second;
    if (!layers[i].can_add()) break;
    worst.pop();
    layers[i].add(1);
    worst.emplace(layers[i].highest_share(), i);
  }
  return worst.empty() ? 1.0 : std::max(1.0, worst.top().first);
}

}  // namespace conclave
