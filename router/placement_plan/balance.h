// How level a layer's load is over its servers, and how level it could be at best. All figures are
// max over mean: 1 is perfect, and a layer takes that many times as long as it could.
//
//   even_balance    an expert's load is split evenly over its copies: EPLB's own figure
//   best_balance    the split that lowers the maximum most, exactly: what asking the holder with
//                   the least to do comes near, and never above even_balance
//   least_*         lower bounds for every plan and every split: some holder of an expert of load w
//                   with c holders has w / c at least, whatever the split, and there are only so
//                   many slots. What packing costs is not in them
//
// Experts without a holder have no load here. A layer without load is level: 1.
//
// Pure. best_balance is a maximum flow or some: (E + S) * copies for each path, some hundred paths.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "router/placement_plan/replica_planner.h"

namespace conclave {

// Who holds the experts of a layer, in indices of servers.
struct LayerHolders {
  int32_t num_servers = 0;
  std::vector<std::vector<int32_t>> of;  // [E]; one with two copies is named twice
};

LayerHolders holders_of_layer(const PlacementPlan& plan, int32_t layer_idx);

// REQUIRES for both: load is [E]
double even_balance(const LayerHolders& holders, std::span<const double> load);
double best_balance(const LayerHolders& holders, std::span<const double> load);

// What `num_slots` of the whole cluster are for.
struct Room {
  int32_t num_layers = 0;  // L
  int32_t num_servers = 0;
  int64_t num_slots = 0;  // over all layers, at least as many as experts
};

// Of a layer that has all of the room; load is [E].
double least_balance(std::span<const double> load, const Room& room);

// Of the worst layer, where the layers share the room as is best for it; load is [L * E].
double least_worst_balance(std::span<const double> load, const Room& room);

// Of the mean over the layers that have load, where they share the room as is best for that, and
// layers may have parts of slots (a Lagrangian bound); load is [L * E].
double least_mean_balance(std::span<const double> load, const Room& room);

}  // namespace conclave
