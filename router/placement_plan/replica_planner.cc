#include "router/placement_plan/replica_planner.h"

#include <algorithm>

#include "common/check.h"
#include "router/placement_plan/copy_counts.h"
#include "router/placement_plan/fill.h"
#include "router/placement_plan/level.h"
#include "router/placement_plan/plan_state.h"
#include "router/placement_plan/rebuild.h"

namespace conclave {
namespace {

// Plans of plans until nothing changes. Every round but the first lowers a layer's max over mean by
// min_gain, and no other above that, so there is an end; it takes one or two rounds, and ten or
// more where hardly a slot is to spare.
constexpr int kMaxRounds = 32;

// Ways out of dead ends that are tried in a layer, for free and for gain: while it has more over
// the best that can be than is good enough, and more of them while it has much more.
constexpr double kGoodEnough = 5e-3;
constexpr int32_t kNumTries = 12;
constexpr double kBad = 2e-2;
constexpr int32_t kMaxTriesOfBad = 256;
constexpr int32_t kTriesOfAllLayers = 48 * 58;  // few layers may take longer each
constexpr int32_t kNumPaidTries = 24;

// Where nothing good is found: the moves that get so near to the best that was.
constexpr double kNearLast = 1.005;

// What a move must take off a server, of its layer's mean, to be looked at when loads cost.
constexpr double kLeastPaid = 5e-4;

// Who is to be given a share whatever it costs: servers with less than half of one.
struct Newcomers {
  Freedom freedom;
  bool all = true;  // nobody else takes anything: a plan from nothing
};

Newcomers find_newcomers(const PlanState& state) {
  int64_t held = 0;
  int64_t num_open = 0;
  for (int32_t s = 0; s < state.num_servers(); ++s) {
    held += state.num_held(s);
    num_open += state.movable(s) && state.slots(s) > 0 ? 1 : 0;
  }
  const int64_t copies = std::max(held, static_cast<int64_t>(state.cells().size()));
  const auto num_layers = static_cast<int64_t>(state.layers().size());
  Newcomers newcomers;
  for (int32_t s = 0; s < state.num_servers(); ++s) {
    const bool open = state.movable(s) && state.slots(s) > 0;
    const int64_t share = open ? std::min(state.slots(s), copies / num_open) : 0;
    const bool is_new = open && 2 * state.num_held(s) < share;
    newcomers.freedom.is_newcomer.push_back(is_new ? 1 : 0);
    newcomers.freedom.quota.push_back((state.slots(s) + num_layers - 1) /
                                      std::max<int64_t>(num_layers, 1));
    if (open && !is_new) newcomers.all = false;
  }
  return newcomers;
}

void rebuild_for_free(PlanState* state, Leveler* leveler, int32_t layer) {
  LayerRebuild rebuild(state, leveler, layer);
  const auto num_layers = static_cast<int32_t>(state->layers().size());
  const int32_t end = std::min(kMaxTriesOfBad, kTriesOfAllLayers / num_layers);
  for (int32_t i = 0; i < end; ++i) {
    if (rebuild.over() <= (i < kNumTries ? kGoodEnough : kBad)) return;
    rebuild.try_once();
  }
}

// Moves that cost nothing but loads that are due.
void level_for_free(PlanState* state, Newcomers newcomers) {
  if (newcomers.all) {
    newcomers.freedom.all_are_new = true;
    std::fill(newcomers.freedom.quota.begin(), newcomers.freedom.quota.end(), state->num_experts());
  }
  Leveler leveler(state, &newcomers.freedom);
  for (const int32_t layer : state->layers()) {
    if (newcomers.all) {
      while (leveler.step(layer) || leveler.step_by_displacing(layer)) {
      }
      rebuild_for_free(state, &leveler, layer);
    } else {
      while (leveler.step_past_stuck(layer)) {
      }
    }
  }
}

// Moves that are worth their loads: the first few that bring the layer within min_gain of what its
// copies allow, or near the best that was found; none where that gains less than min_gain.
// Others give up room for it until they are near `worst`, what all could be at.
void level_for_gain(PlanState* state, int32_t layer, double worst, const PlanOptions& options) {
  const double before = state->max_load(layer);
  const double kept = 1 - options.min_gain;
  const double needed = before * kept;
  if (needed < 1) return;
  struct Step {
    size_t mark = 0;
    double highest = 0;
  };
  std::vector<Step> steps = {{.mark = state->mark(), .highest = before}};
  Freedom anything{.all = true, .least_gain = kLeastPaid, .is_newcomer = {}, .quota = {}};
  Leveler leveler(state, &anything);
  LayerRebuild rebuild(state, &leveler, layer);
  anything.others_up_to = std::min(needed, worst * (1 + options.min_gain / 2));
  const auto descend = [&] {
    do {
      steps.push_back({state->mark(), state->max_load(layer)});
    } while (leveler.step(layer) || leveler.step_by_displacing(layer));
  };
  descend();
  const double good = rebuild.least_load() / std::max(kept, 1e-9);
  for (int32_t i = 0; i < kNumPaidTries && needed > rebuild.least_load(); ++i) {
    if (state->max_load(layer) <= std::min(needed, good)) break;
    if (rebuild.try_once()) descend();
  }
  const double enough = std::min(needed, std::max(good, steps.back().highest * kNearLast));
  const auto stop = std::find_if(steps.begin(), steps.end(),
                                 [&](const Step& step) { return step.highest <= enough; });
  state->undo_to(stop == steps.end() ? steps.front().mark : stop->mark);
}

// So that layers that cannot do without others' room have the first choice of it.
std::vector<int32_t> worst_first(const PlanState& state) {
  std::vector<double> highest;
  for (int32_t layer = 0; layer < state.num_layers(); ++layer) {
    highest.push_back(state.max_load(layer));
  }
  std::vector<int32_t> layers = state.layers();
  std::stable_sort(layers.begin(), layers.end(),
                   [&](int32_t a, int32_t b) { return highest[a] > highest[b]; });
  return layers;
}

// One round; whether it changed anything.
bool replan(const PlanInput& input, const PlanOptions& options, std::vector<ExpertSet>* held) {
  PlanState state(input, *held);
  trim(&state);
  const Newcomers newcomers = find_newcomers(state);
  if (newcomers.all) spread_from_nothing(&state, options.hot_share);
  cover(&state);
  level_for_free(&state, newcomers);
  if (!newcomers.all) {
    const double worst = least_worst_load(state);
    for (const int32_t layer : worst_first(state)) level_for_gain(&state, layer, worst, options);
  }
  bool changed = false;
  for (int32_t s = 0; s < state.num_servers(); ++s) {
    ExpertSet now = state.held_by(s);
    changed = changed || !(now == (*held)[s]);
    (*held)[s] = std::move(now);
  }
  return changed;
}

ExpertSet short_of(const PlanInput& input, const std::vector<ExpertSet>& held) {
  ExpertSet lacking(input.all.num_layers(), input.all.num_experts());
  for (int32_t layer = 0; layer < input.all.num_layers(); ++layer) {
    for (int32_t e = 0; e < input.all.num_experts(); ++e) {
      const auto holders = std::count_if(
          held.begin(), held.end(), [&](const ExpertSet& set) { return set.contains(layer, e); });
      if (input.all.contains(layer, e) && holders < std::max(input.min_replicas, 1)) {
        lacking.insert(layer, e);
      }
    }
  }
  return lacking;
}

}  // namespace

PlacementPlan plan_placement(const PlanInput& input, const PlanOptions& options) {
  std::vector<ExpertSet> held;
  for (const PlannedServer& server : input.servers) {
    CHECK(held.empty() || input.servers[held.size() - 1].server < server.server);
    ExpertSet mine = server.held;
    if (mine.empty()) mine = ExpertSet(input.all.num_layers(), input.all.num_experts());
    held.push_back(mine.minus(mine.minus(input.all)));
  }
  if (held.empty()) return {.servers = {}, .short_of = input.all, .num_loads = 0};
  for (int round = 0; round < kMaxRounds && replan(input, options, &held); ++round) {
  }
  PlacementPlan plan{.servers = {}, .short_of = short_of(input, held), .num_loads = 0};
  for (size_t s = 0; s < held.size(); ++s) {
    const ExpertSet& before = input.servers[s].held;
    plan.num_loads += before.empty() ? held[s].size() : held[s].minus(before).size();
    plan.servers.push_back({.server = input.servers[s].server, .wanted = std::move(held[s])});
  }
  return plan;
}

}  // namespace conclave
