// Out of a dead end: where no single move takes load off a layer's busiest server, a few servers
// are emptied of the layer and filled anew, and what does not turn out better is taken back.
//
// For loads that are due wherever they go: everything on servers that take new
// may move. Deterministic:
// the servers come from a generator with a fixed seed. One thread. A try costs what levelling a
// layer does.
#pragma once

#include <cstdint>

#include "router/placement_plan/level.h"
#include "router/placement_plan/plan_state.h"

namespace conclave {

// Tries `num_tries` times while the layer is 0.5 % over the best that can be, four times as often
// while it is 2 % over.
void rebuild_layer(PlanState* state, Leveler* leveler, int32_t layer, int32_t num_tries);

}  // namespace conclave
