#include "router/placement_plan/plan_state.h"

#include <algorithm>
#include <cmath>

#include "common/check.h"

namespace conclave {
namespace {

void erase_value(std::vector<int32_t>* values, int32_t value) {
  const auto at = std::find(values->begin(), values->end(), value);
  CHECK(at != values->end());
  *at = values->back();
  values->pop_back();
}

}  // namespace

PlanState::PlanState(const PlanInput& input, std::span<const ExpertSet> held)
    : num_layers_(input.all.num_layers()),
      num_experts_(input.all.num_experts()),
      num_servers_(static_cast<int32_t>(input.servers.size())),
      min_replicas_(std::max(input.min_replicas, 1)) {
  CHECK(held.size() == input.servers.size());
  const size_t num_cells = static_cast<size_t>(num_layers_) * static_cast<size_t>(num_experts_);
  holders_.resize(num_cells);
  items_.resize(static_cast<size_t>(num_layers_) * input.servers.size());
  load_.resize(items_.size(), 0.0);
  holds_.resize(num_cells * input.servers.size(), 0);
  for (int32_t layer = 0; layer < num_layers_; ++layer) {
    const size_t before = cells_.size();
    for (const ExpertSpan& span : input.all.spans(layer)) {
      for (int32_t i = 0; i < span.count; ++i) cells_.push_back({layer, span.first + i});
    }
    if (cells_.size() > before) layers_.push_back(layer);
  }
  for (const PlannedServer& server : input.servers) {
    CHECK(server.num_slots >= 0);
    servers_.push_back({.takes_new = server.takes_new, .num_slots = server.num_slots});
  }
  for (const Cell cell : cells_) {
    for (int32_t s = 0; s < num_servers_; ++s) {
      if (!held[s].contains(cell.layer, cell.expert)) continue;
      holders_[index(cell)].push_back(s);
      items_[place(cell.layer, s)].push_back(cell.expert);
      holds_[bit(s, cell)] = 1;
      ++servers_[s].num_held;
    }
  }
  held_first_ = holds_;
  set_weights(input);
  for (const Cell cell : cells_) {
    if (num_holders(cell) > 0) spread(cell, share(cell));
  }
}

// Where nothing is known of a layer its experts are all alike. Scaled before they are added, so
// that the largest of numbers do not overflow.
void PlanState::set_weights(const PlanInput& input) {
  weight_.resize(holders_.size(), 0.0);
  CHECK(input.load.empty() || input.load.size() == weight_.size());
  const auto in_use = std::count_if(servers_.begin(), servers_.end(), [](const Server& server) {
    return server.num_held > 0 || (server.takes_new && server.num_slots > 0);
  });
  std::vector<double> highest(static_cast<size_t>(num_layers_), 0.0);
  for (const Cell cell : cells_) {
    const double load = input.load.empty() ? 0.0 : input.load[index(cell)];
    CHECK(std::isfinite(load));
    CHECK(load >= 0);
    highest[cell.layer] = std::max(highest[cell.layer], load);
  }
  std::vector<double> total(static_cast<size_t>(num_layers_), 0.0);
  for (const Cell cell : cells_) {
    const double high = highest[cell.layer];
    weight_[index(cell)] = high > 0 ? input.load[index(cell)] / high : 1.0;
    total[cell.layer] += weight_[index(cell)];
  }
  for (const Cell cell : cells_) {
    weight_[index(cell)] *= static_cast<double>(in_use) / total[cell.layer];
  }
}

double PlanState::max_load(int32_t layer) const {
  const auto first = load_.begin() + static_cast<ptrdiff_t>(place(layer, 0));
  return num_servers_ == 0 ? 0.0 : *std::max_element(first, first + num_servers_);
}

double PlanState::max_share(int32_t layer) const {
  double highest = 0;
  for (int32_t expert = 0; expert < num_experts_; ++expert) {
    const Cell cell{layer, expert};
    if (num_holders(cell) > 0) highest = std::max(highest, share(cell));
  }
  return highest;
}

void PlanState::spread(Cell cell, double change_of_each) {
  for (const int32_t s : holders_[index(cell)]) load_[place(cell.layer, s)] += change_of_each;
}

void PlanState::insert(int32_t server, Cell cell) {
  CHECK(!holds(server, cell));
  const int32_t before = num_holders(cell);
  if (before > 0) spread(cell, share(cell, before + 1) - share(cell, before));
  holders_[index(cell)].push_back(server);
  load_[place(cell.layer, server)] += share(cell);
  items_[place(cell.layer, server)].push_back(cell.expert);
  holds_[bit(server, cell)] = 1;
  ++servers_[server].num_held;
}

void PlanState::erase(int32_t server, Cell cell) {
  CHECK(holds(server, cell));
  load_[place(cell.layer, server)] -= share(cell);
  erase_value(&holders_[index(cell)], server);
  erase_value(&items_[place(cell.layer, server)], cell.expert);
  const int32_t left = num_holders(cell);
  if (left > 0) spread(cell, share(cell, left) - share(cell, left + 1));
  holds_[bit(server, cell)] = 0;
  --servers_[server].num_held;
}

void PlanState::add(int32_t server, Cell cell) {
  CHECK(has_room(server));
  insert(server, cell);
  log_.push_back({.server = server, .cell = cell, .added = true});
}

void PlanState::remove(int32_t server, Cell cell) {
  CHECK(movable(server));
  erase(server, cell);
  log_.push_back({.server = server, .cell = cell, .added = false});
}

void PlanState::undo_to(size_t mark) {
  for (; log_.size() > mark; log_.pop_back()) {
    const Change& change = log_.back();
    if (change.added) {
      erase(change.server, change.cell);
    } else {
      insert(change.server, change.cell);
    }
  }
}

ExpertSet PlanState::held_by(int32_t server) const {
  ExpertSet held(num_layers_, num_experts_);
  for (const int32_t layer : layers_) {
    for (const int32_t expert : items(layer, server)) held.insert(layer, expert);
  }
  return held;
}

}  // namespace conclave
