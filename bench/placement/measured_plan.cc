#include "bench/placement/measured_plan.h"

#include <algorithm>
#include <span>

#include "router/placement_plan/eplb.h"

namespace conclave {
namespace {

std::span<const double> layer_of(const std::vector<double>& load, const PlanShape& shape,
                                 int32_t layer) {
  const auto num_experts = static_cast<size_t>(shape.num_experts);
  return std::span(load).subspan(static_cast<size_t>(layer) * num_experts, num_experts);
}

void add_layer(const LayerHolders& holders, std::span<const double> load, int32_t num_layers,
               Levels* levels) {
  const double even = even_balance(holders, load);
  levels->worst = std::max(levels->worst, even);
  levels->mean += even / num_layers;
  levels->worst_best_split = std::max(levels->worst_best_split, best_balance(holders, load));
}

}  // namespace

PlanInput empty_input(const PlanShape& shape, const std::vector<double>& load) {
  PlanInput input{.all = ExpertSet(shape.num_layers, shape.num_experts), .load = load};
  for (int32_t layer = 0; layer < shape.num_layers; ++layer) {
    for (int32_t e = 0; e < shape.num_experts; ++e) input.all.insert(layer, e);
  }
  for (int32_t s = 0; s < shape.num_servers; ++s) {
    const int64_t left_over = s < shape.num_slots % shape.num_servers ? 1 : 0;
    input.servers.push_back({.server = ServerId{s},
                             .num_slots = shape.num_slots / shape.num_servers + left_over,
                             .held = ExpertSet(shape.num_layers, shape.num_experts)});
  }
  return input;
}

PlanInput input_holding(const PlacementPlan& plan, const PlanShape& shape,
                        const std::vector<double>& load) {
  PlanInput input = empty_input(shape, load);
  for (size_t s = 0; s < input.servers.size(); ++s) input.servers[s].held = plan.servers[s].wanted;
  return input;
}

int64_t num_loaded(const PlanInput& input, const PlacementPlan& plan) {
  int64_t loaded = 0;
  for (size_t s = 0; s < input.servers.size(); ++s) {
    loaded += plan.servers[s].wanted.minus(input.servers[s].held).size();
  }
  return loaded;
}

Levels levels_of(const PlacementPlan& plan, const PlanShape& shape,
                 const std::vector<double>& load) {
  Levels levels;
  for (int32_t layer = 0; layer < shape.num_layers; ++layer) {
    add_layer(holders_of_layer(plan, layer), layer_of(load, shape, layer), shape.num_layers,
              &levels);
  }
  return levels;
}

bool eplb_can(const PlanShape& shape) {
  return shape.num_slots % (int64_t{shape.num_layers} * shape.num_servers) == 0;
}

Levels levels_of_eplb(const PlanShape& shape, const std::vector<double>& load) {
  const auto layer_slots = static_cast<int32_t>(shape.num_slots / shape.num_layers);
  Levels levels;
  for (int32_t layer = 0; layer < shape.num_layers; ++layer) {
    const std::span<const double> of_layer = layer_of(load, shape, layer);
    const auto slots = eplb(of_layer, {.num_slots = layer_slots, .num_devices = shape.num_servers});
    LayerHolders holders{.num_servers = shape.num_servers, .of = {}};
    holders.of.resize(of_layer.size());
    for (int32_t i = 0; i < layer_slots; ++i) {
      holders.of[static_cast<size_t>(slots[static_cast<size_t>(i)])].push_back(
          i / (layer_slots / shape.num_servers));
    }
    add_layer(holders, of_layer, shape.num_layers, &levels);
  }
  return levels;
}

}  // namespace conclave
