// The third wish: moves that take load off the busiest server of a layer.
//
// A step takes the busiest server and looks through all that could take load off it: giving an
// expert to another server, giving it a copy, swapping two experts, and putting a copy in the place
// of a surplus one. Where the other server is full, room may come from another layer: a surplus
// replica there that nobody misses, or an expert there that goes the other way. No layer's highest
// load rises, unless Freedom lets it. The loads of a layer, sorted from the highest, fall with
// every step in lexicographic order, so steps end.
//
// One thread. A step costs the busiest server's experts of the layer times the layer's copies.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "router/placement_plan/plan_state.h"

namespace conclave {

// Which moves are allowed.
struct Freedom {
  bool all = false;
  // What a step must take off a server, of its layer's mean: what bounds the number of steps.
  double least_gain = 2e-5;
  // What other layers' highest loads may rise to, to make room for this one.
  double others_up_to = 0;
  // Else those whose loads are due anyway (PlanState::is_new), and those onto these servers, [S],
  // which get at most so many experts of a layer. What they were given is due nowhere else, unless
  // all servers are new.
  bool all_are_new = false;
  std::vector<uint8_t> is_newcomer;
  std::vector<int64_t> quota;
};

class Leveler {
 public:
  // Both outlive this.
  Leveler(PlanState* state, const Freedom* freedom) : state_(*state), freedom_(*freedom) {}

  // Takes load off the busiest server; false: it cannot be.
  bool step(int32_t layer);

  // Takes load off the busiest that it can be taken off; false: off nobody.
  bool step_past_stuck(int32_t layer);

  // For dead ends of step(): takes load off the busiest server at the cost of another that gets too
  // much by it, and lets that one swap and drop until it is below what the busiest had. False: it
  // cannot be.
  bool step_by_displacing(int32_t layer);

 private:
  enum class Kind : uint8_t { kMove, kCopy, kSwap, kMoveOver, kCopyOver };
  struct Move {
    Kind kind = Kind::kMove;
    Cell cell;
    int32_t from = 0;
    int32_t to = 0;
    int32_t other = -1;  // the expert that is swapped, or that makes room
    double to_load = 0;  // of `to`, afterwards
    double highest = 0;  // load of any other server that it changes, afterwards; `to` too when
                         // none may have too much
  };

  int32_t busiest(int32_t layer) const;  // server
  void begin(double limit);
  bool relieve(int32_t layer, int32_t server);
  void consider_cell(Cell cell, int32_t from);
  void consider_into_room(Cell cell, int32_t from, int32_t to);
  void consider_swap(Cell cell, int32_t from, int32_t to, Cell other);
  void consider_over(Cell cell, int32_t from, int32_t to, Cell other);
  void consider(Move move);

  bool may_load(int32_t server, int32_t layer) const;
  bool may_shift(Cell cell, int32_t from, int32_t to) const;
  bool may_drop(int32_t server, Cell cell) const;
  bool is_due_elsewhere(int32_t server, Cell cell) const;
  double harmless_load(int32_t layer);
  double highest_without(Cell cell, int32_t server) const;

  void apply(const Move& move);
  bool apply_with_room(const Move& move);
  bool apply_without_room();
  bool make_room_by_drop(const Move& move);
  bool make_room_by_trade(const Move& move);

  // displace.cc
  double share_moved(const Move& move) const;
  bool pay_debt(const Move& move);
  bool pay_part(const Move& move);
  void consider_part(Cell cell, int32_t from, int32_t to, std::vector<Move>* parts) const;
  bool drop_part(const Move& move);

  PlanState& state_;
  const Freedom& freedom_;

  // Of the step under way.
  std::optional<Move> best_;
  std::vector<Move> without_room_;
  std::vector<Move> indebted_;
  bool allows_debt_ = false;
  double limit_ = 0;              // what a move's result must be below
  std::vector<double> harmless_;  // [L] at the step's begin; -1: not asked yet
};

}  // namespace conclave
