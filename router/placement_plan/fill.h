// The first two wishes of a plan, that every expert has a holder and then min_replicas of them, and
// the even start of a plan from nothing.
//
// Pure but for the state. Placing costs S an expert; where it needs the room of another expert,
// L * E.
#pragma once

#include "router/placement_plan/plan_state.h"

namespace conclave {

// Servers that take new release what their slots cannot hold: surplus replicas first, then what
// else has another holder, then the least asked.
void trim(PlanState* state);

// Shares all free slots out by load, hot experts having more than one, and places heaviest shares
// first, each on the servers with the least load.
void spread_from_nothing(PlanState* state, double hot_share);

// Puts `cell` on the least loaded server that has room and does not hold it; false: there is none.
bool place(PlanState* state, Cell cell);

// Gives experts without a holder one, the most asked first, then those with fewer than
// min_replicas. Where no slot is free replicas make room: of any expert for one that has no holder,
// else surplus ones.
void cover(PlanState* state);

}  // namespace conclave
