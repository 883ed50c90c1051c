// Which server is to hold which experts: a pure function of what they hold and what is asked.
//
// What it wants, in this order:
//   1. every expert has a holder;
//   2. every expert has `min_replicas` of them, on as many servers;
//   3. every layer's load is level over the servers. A layer waits for its slowest server, so what
//      counts is each layer's max over mean, under an even split of an expert's load over its
//      holders: what EPLB counts, and no less than what a router makes that asks the holder with
//      the least to do (balance.h has both).
// Of what cannot all fit the least asked goes without.
//
// What servers hold is kept, unless something above needs the room, or moving it lowers its layer's
// max over mean by `min_gain`, relatively. Free are only the loads that must be anyway: experts
// that nobody held go where they level most, spare room included when all servers are new, and
// a server that holds less than half of an even share is given load until it is level or full.
// Room that is left over stays free until using it is worth `min_gain`.
//
// A server's slots are shared by all layers: one with a hot expert of one layer has more of
// another. Servers count as equally fast. One with `takes_new` false keeps all it holds, also over
// its slots; others release what their slots cannot hold.
//
// The same input gives the same plan. A plan is a fixpoint: where servers hold what it wants, the
// next one wants the same. No threads, no clock. 58 x 256 experts on 144 servers take less than a
// second; where dead ends are many, or slots hardly enough, one or two. Memory is S * L * E bytes
// and some.
//
// REQUIRES: servers ascend; all sets are of one shape, but those that are empty; load is empty or
// [L * E] of finite numbers that are not negative; num_slots >= 0
#pragma once

#include <cstdint>
#include <vector>

#include "common/ids.h"
#include "model/weights/expert_set.h"

namespace conclave {

// One server that may hold experts.
struct PlannedServer {
  ServerId server{};
  int64_t num_slots = 0;  // experts of any layer that it has room for
  ExpertSet held;         // what it holds now
  // Without it the server keeps what it holds and is given nothing more: it is loaded by hand, or
  // was ejected.
  bool takes_new = true;
};

struct PlanInput {
  ExpertSet all;                       // every expert of every MoE layer
  std::vector<PlannedServer> servers;  // ascending; those that drain are left out
  std::vector<double> load;            // [L * E], any unit; empty: nothing is known, all alike
  int32_t min_replicas = 1;            // servers per expert, where they fit
};

struct PlanOptions {
  // A layer's moves that only balance must lower its max over mean by this share of it, together,
  // and end where it is within this share of the best that its copies allow, if that is found. In
  // [0, 1]; 1: none.
  double min_gain = 0.05;
  // An expert is hot, and replicated into spare room by a plan from nothing, while a copy of it
  // makes more than this share of a server's mean load in its layer.
  double hot_share = 0.1;
};

struct ServerPlan {
  ServerId server{};
  ExpertSet wanted;
};

struct PlacementPlan {
  std::vector<ServerPlan> servers;  // as in the input
  // Experts with fewer than min_replicas holders, for want of room.
  ExpertSet short_of;
  int64_t num_loads = 0;  // experts that some server is to load
};

PlacementPlan plan_placement(const PlanInput& input, const PlanOptions& options);

}  // namespace conclave
