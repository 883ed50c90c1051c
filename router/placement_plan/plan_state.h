// A placement in the making: who holds what, how much load that makes, how many slots are free.
//
// Servers and experts are indices here. Loads are in units of their layer's mean: 1 is a server's
// even share. Every change goes into a log and can be taken back.
//
// Invariants: no server that takes new holds more than its slots, once trim() is done; one that
// does not is never changed. One thread. A change costs the copies of its expert.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "router/placement_plan/replica_planner.h"

namespace conclave {

// An expert of a layer.
struct Cell {
  int32_t layer = 0;
  int32_t expert = 0;

  bool operator==(const Cell&) const = default;
};

class PlanState {
 public:
  // `input` outlives this; the servers hold `held`, [S], of which what is not in input.all is left
  // out.
  PlanState(const PlanInput& input, std::span<const ExpertSet> held);

  int32_t num_layers() const { return num_layers_; }
  int32_t num_experts() const { return num_experts_; }
  int32_t num_servers() const { return num_servers_; }
  int32_t min_replicas() const { return min_replicas_; }

  // Layers that have experts, ascending, and all their experts.
  const std::vector<int32_t>& layers() const { return layers_; }
  const std::vector<Cell>& cells() const { return cells_; }

  bool movable(int32_t server) const { return servers_[server].takes_new; }
  int64_t slots(int32_t server) const { return servers_[server].num_slots; }
  int64_t num_held(int32_t server) const { return servers_[server].num_held; }
  int64_t free_slots(int32_t server) const { return slots(server) - num_held(server); }
  bool has_room(int32_t server) const { return movable(server) && free_slots(server) > 0; }
  bool holds(int32_t server, Cell cell) const { return holds_[bit(server, cell)] != 0; }

  // What the server did not hold when this was made: loading it is due wherever it goes.
  bool is_new(int32_t server, Cell cell) const { return held_first_[bit(server, cell)] == 0; }

  std::span<const int32_t> holders(Cell cell) const { return holders_[index(cell)]; }
  int32_t num_holders(Cell cell) const { return static_cast<int32_t>(holders(cell).size()); }
  std::span<const int32_t> items(int32_t layer, int32_t server) const {
    return items_[place(layer, server)];
  }

  double weight(Cell cell) const { return weight_[index(cell)]; }
  double share(Cell cell, int32_t num_copies) const { return weight(cell) / num_copies; }
  double share(Cell cell) const { return share(cell, num_holders(cell)); }
  double load(int32_t layer, int32_t server) const { return load_[place(layer, server)]; }
  double max_load(int32_t layer) const;
  double max_share(int32_t layer) const;  // of any copy

  // What the remaining holders would have more of if one went. REQUIRES: two holders or more
  double raise_without_one(Cell cell) const {
    return share(cell, num_holders(cell) - 1) - share(cell);
  }

  // Whether one holder may go as far as wishes 1 and 2 are concerned.
  bool has_surplus(Cell cell) const { return num_holders(cell) > min_replicas_; }

  // REQUIRES: movable, with a free slot, not held
  void add(int32_t server, Cell cell);
  // REQUIRES: movable, held
  void remove(int32_t server, Cell cell);

  // A place in the log, and back to it.
  size_t mark() const { return log_.size(); }
  void undo_to(size_t mark);

  ExpertSet held_by(int32_t server) const;

 private:
  struct Server {
    bool takes_new = true;
    int64_t num_slots = 0;
    int64_t num_held = 0;
  };
  struct Change {
    int32_t server = 0;
    Cell cell;
    bool added = false;
  };

  size_t index(Cell cell) const {
    return static_cast<size_t>(cell.layer) * num_experts_ + cell.expert;
  }
  size_t place(int32_t layer, int32_t server) const {
    return static_cast<size_t>(layer) * num_servers_ + server;
  }
  size_t bit(int32_t server, Cell cell) const {
    return static_cast<size_t>(server) * holders_.size() + index(cell);
  }
  void set_weights(const PlanInput& input);
  void insert(int32_t server, Cell cell);
  void erase(int32_t server, Cell cell);
  void spread(Cell cell, double change_of_each);

  const int32_t num_layers_;
  const int32_t num_experts_;
  const int32_t num_servers_;
  const int32_t min_replicas_;
  std::vector<int32_t> layers_;
  std::vector<Cell> cells_;
  std::vector<Server> servers_;
  std::vector<double> weight_;                 // [L * E]
  std::vector<std::vector<int32_t>> holders_;  // [L * E] in no order that matters to others
  std::vector<std::vector<int32_t>> items_;    // [L * S]
  std::vector<double> load_;                   // [L * S]
  std::vector<uint8_t> holds_;                 // [S * L * E]
  std::vector<uint8_t> held_first_;            // [S * L * E]
  std::vector<Change> log_;
};

}  // namespace conclave
