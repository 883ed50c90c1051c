// How level plans of experts are, what they cost and what they move: plan_placement() beside EPLB
// and beside lower bounds, 58 layers of 256 experts, an eighth of the slots to spare.
//
// A case is a load and a number of servers; a run is a seed, or a step of a load that changes. All
// are max over mean under an even split unless said:
//
//   worst layer              of the plan from nothing; EPLB's, and the lower bound of any plan
//   over bound               the plan's over the bound's
//   worst layer, best split  with the best split of every expert over its holders
//   mean of layers           the same over all layers; EPLB's, and its own lower bound
//   plan                     seconds from nothing
//
// and for loads that change, plans that start from the last one, with the min_gain that is the
// default and with a lower one, each on from its own plans:
//
//   worst layer, kept        of the last plan under the new load
//   worst layer, replanned   of the new one
//   replanned over bound     the new one's over the lower bound
//   moved, moved anew        experts loaded by it, and by a plan from nothing
//   replan                   seconds
//
// and for one server lost of those, and one that joins:
//
//   lacking, moved           copies that were lost alone, and experts loaded; share of all experts
//
// EPLB takes the same number of slots for every server and layer: with 64 servers both are given 5
// of each, a quarter to spare. The last lines of a case are what our plan makes of an eighth there.
//
// usage: bench_placement [RUNS [SERVERS [LOAD]]]      LOAD as in a case: drifting, "zipf 0.8"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "bench/placement/expert_loads.h"
#include "bench/placement/measured_plan.h"
#include "bench/report/report.h"
#include "common/check.h"

namespace conclave {
namespace {

constexpr int32_t kLayers = 58;
constexpr int32_t kExperts = 256;
constexpr int64_t kLayerSlots = kExperts * 9 / 8;
constexpr double kLowerMinGain = 0.02;

class Case {
 public:
  Case(const LoadSpec& spec, int32_t num_servers, int64_t layer_slots, const Report* report)
      : name_(absl::StrFormat("%s, %d servers, %d slots", name_of(spec), num_servers, layer_slots)),
        shape_{.num_layers = kLayers,
               .num_experts = kExperts,
               .num_servers = num_servers,
               .num_slots = layer_slots * kLayers},
        report_(*report) {}

  void add(const std::string& metric, const std::string& unit, std::vector<double> runs) const {
    if (!runs.empty()) report_.add({name_, metric, unit, spread_of(std::move(runs))});
  }

  Room room() const {
    return {.num_layers = shape_.num_layers,
            .num_servers = shape_.num_servers,
            .num_slots = shape_.num_slots};
  }

  const std::string name_;
  const PlanShape shape_;
  const Report& report_;
};

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Plans from nothing, one for each of the loads.
void measure_from_nothing(const Case& which, const std::vector<std::vector<double>>& loads) {
  std::vector<double> worst, worst_best, mean, eplb_worst, eplb_mean, bound, mean_bound, over, time;
  for (const std::vector<double>& load : loads) {
    const auto begin = std::chrono::steady_clock::now();
    const PlacementPlan plan = plan_placement(empty_input(which.shape_, load), {});
    time.push_back(seconds_since(begin));
    CHECK(plan.short_of.empty());
    const Levels ours = levels_of(plan, which.shape_, load);
    const Room room = which.room();
    worst.push_back(ours.worst);
    worst_best.push_back(ours.worst_best_split);
    mean.push_back(ours.mean);
    bound.push_back(least_worst_balance(load, room));
    mean_bound.push_back(least_mean_balance(load, room));
    over.push_back(ours.worst / bound.back());
    if (!eplb_can(which.shape_)) continue;
    const Levels theirs = levels_of_eplb(which.shape_, load);
    eplb_worst.push_back(theirs.worst);
    eplb_mean.push_back(theirs.mean);
  }
  which.add("worst layer", "max/mean", worst);
  which.add("worst layer, EPLB", "max/mean", eplb_worst);
  which.add("worst layer, bound", "max/mean", bound);
  which.add("over bound", "ratio", over);
  which.add("worst layer, best split", "max/mean", worst_best);
  which.add("mean of layers", "max/mean", mean);
  which.add("mean of layers, EPLB", "max/mean", eplb_mean);
  which.add("mean of layers, bound", "max/mean", mean_bound);
  which.add("plan", "s", time);
}

// Plans from one load to the next.
void measure_changes(const Case& which, const std::vector<std::vector<double>>& loads,
                     double min_gain) {
  const PlanOptions options{.min_gain = min_gain};
  const Room room = which.room();
  std::vector<double> kept, replanned, over, moved, moved_anew, time;
  PlacementPlan last = plan_placement(empty_input(which.shape_, loads.front()), {});
  for (size_t i = 1; i < loads.size(); ++i) {
    const PlanInput input = input_holding(last, which.shape_, loads[i]);
    kept.push_back(levels_of(last, which.shape_, loads[i]).worst);
    moved_anew.push_back(static_cast<double>(
        num_loaded(input, plan_placement(empty_input(which.shape_, loads[i]), {}))));
    const auto begin = std::chrono::steady_clock::now();
    last = plan_placement(input, options);
    time.push_back(seconds_since(begin));
    moved.push_back(static_cast<double>(last.num_loads));
    replanned.push_back(levels_of(last, which.shape_, loads[i]).worst);
    over.push_back(replanned.back() / least_worst_balance(loads[i], room));
  }
  const std::string with = absl::StrFormat(", min_gain %.2f", min_gain);
  which.add("worst layer, kept" + with, "max/mean", kept);
  which.add("worst layer, replanned" + with, "max/mean", replanned);
  which.add("replanned over bound" + with, "ratio", over);
  which.add("moved" + with, "experts", moved);
  which.add("moved anew" + with, "experts", moved_anew);
  which.add("replan" + with, "s", time);
}

// A server lost, and one more.
void measure_members(const Case& which, const std::vector<double>& load) {
  const PlacementPlan plan = plan_placement(empty_input(which.shape_, load), {});
  PlanInput without = input_holding(plan, which.shape_, load);
  without.servers.erase(without.servers.begin());
  ExpertSet held(kLayers, kExperts);
  for (const PlannedServer& server : without.servers) held.insert_all(server.held);
  const PlacementPlan after_loss = plan_placement(without, {});
  which.add("lost: lacking", "experts", {static_cast<double>(without.all.size() - held.size())});
  which.add("lost: moved", "experts", {static_cast<double>(after_loss.num_loads)});
  which.add("lost: without a holder", "experts", {static_cast<double>(after_loss.short_of.size())});

  PlanInput with = input_holding(plan, which.shape_, load);
  with.servers.push_back({.server = ServerId{which.shape_.num_servers},
                          .num_slots = with.servers.back().num_slots,
                          .held = ExpertSet(kLayers, kExperts)});
  const PlacementPlan after_join = plan_placement(with, {});
  which.add("joined: moved", "experts", {static_cast<double>(after_join.num_loads)});
  which.add("joined: of it by the new one", "experts",
            {static_cast<double>(after_join.servers.back().wanted.size())});
}

void measure(LoadSpec spec, int32_t num_servers, int32_t num_runs, const Report& report) {
  const int64_t shared = (kLayerSlots + num_servers - 1) / num_servers * num_servers;
  const Case which(spec, num_servers, shared, &report);
  std::vector<std::vector<double>> loads;
  ExpertLoads changing(spec);
  for (int32_t i = 0; i < num_runs; ++i) {
    if (spec.kind == LoadKind::kZipf) {
      spec.seed = static_cast<uint32_t>(i) + 1;
      loads.push_back(ExpertLoads(spec).load());
    } else {
      loads.push_back(changing.load());
      changing.advance();
    }
  }
  measure_from_nothing(which, loads);
  if (spec.kind != LoadKind::kZipf) {
    for (const double min_gain : {PlanOptions{}.min_gain, kLowerMinGain}) {
      measure_changes(which, loads, min_gain);
    }
  }
  if (spec.kind == LoadKind::kZipf && spec.exponent == 1.0) measure_members(which, loads.front());
  if (shared != kLayerSlots) {
    measure_from_nothing(Case(spec, num_servers, kLayerSlots, &report), loads);
  }
}

}  // namespace
}  // namespace conclave

int main(int argc, char** argv) {
  using namespace conclave;
  const int32_t num_runs = argc > 1 ? std::max(2, std::atoi(argv[1])) : 4;
  std::vector<int32_t> num_servers = {8, 16, 32, 64, 144};
  if (argc > 2) num_servers = {std::max(1, std::atoi(argv[2]))};
  const std::string only = argc > 3 ? argv[3] : "";
  const Report report("placement");
  for (const LoadSpec& spec : all_load_specs()) {
    if (!only.empty() && name_of(spec) != only) continue;
    for (const int32_t servers : num_servers) measure(spec, servers, num_runs, report);
  }
  return 0;
}
