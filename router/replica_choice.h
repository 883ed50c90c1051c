// Which holder of an expert is asked for the picks of a layer. A pure function of what is placed
// where and of what was seen of the servers; bits do not depend on it (contract C1).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/ids.h"
#include "router/gate.h"
#include "router/placement.h"
#include "router/replica_health.h"

namespace conclave {

// One server for each expert that `top_k` picks, kNoServer where everybody who holds it is among
// `lost`; [E], and anything for experts that are not picked.
//
// Of an expert's holders those that neither drain nor are avoided come first, then those that
// drain, then those that are avoided, then those that are silent; among equals whoever has the
// fewest picks, away or in this very plan. Experts with fewer holders are placed first, so that the
// others can make up for them.
std::vector<ServerId> choose_replicas(const TopK& top_k, const Placement& placement,
                                      int32_t layer_idx, const ReplicaHealth& health,
                                      std::span<const ServerId> lost);

}  // namespace conclave
