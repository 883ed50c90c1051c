// How often a world came by the places where things go wrong: a seed that meets none of them tests
// nothing.
#pragma once

#include <cstdint>
#include <span>

namespace conclave {

struct SimCounts {
  int64_t num_answers = 0;       // that clients heard to their end
  int64_t num_ids = 0;           // of those
  int64_t num_refusals = 0;      // of clients, for overload
  int64_t num_runs = 0;          // of requests at nodes
  int64_t num_replays = 0;       // of those, after a run that was lost
  int64_t num_turned_away = 0;   // by a full node
  int64_t num_deadlines = 0;     // that passed
  int64_t num_cancels = 0;       // by clients, and of those who went away
  int64_t num_steps = 0;         // of engines
  int64_t num_halved_steps = 0;  // that went through the layers in two halves
  int64_t num_preemptions = 0;
  int64_t num_stalls = 0;
  int64_t num_moves = 0;         // of legs to other holders
  int64_t num_hedges = 0;        // of those that were late
  int64_t num_late_answers = 0;  // to legs that were given up, or second ones
  int64_t num_not_found = 0;     // legs for experts that had moved
  int64_t num_full_servers = 0;  // legs that a full server refused
  int64_t num_mid_step_kills = 0;
  int64_t num_expulsions = 0;  // of silent servers, by control
  int64_t num_orders = 0;      // of control, to hold other experts
  int64_t num_loads = 0;       // of experts, by order
  int64_t num_releases = 0;

  void add(const SimCounts& other);
};

// Every count with its name, to print and to look through.
struct CountName {
  const char* name;
  int64_t SimCounts::*count;
};
std::span<const CountName> count_names();

}  // namespace conclave
