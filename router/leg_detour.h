// The way around a server: a leg's rows, planned anew for other holders of their experts. A pure
// function, as plan_dispatch() is; sending what it says is ExpertLayer's.
//
// A token goes whole or not at all: a row of which one pick has no other holder stays, for its sum
// could not be made anyway.
#pragma once

#include <cstdint>
#include <span>

#include "common/ids.h"
#include "router/dispatch_plan.h"
#include "router/placement.h"
#include "router/replica_health.h"

namespace conclave {

// Whom a detour may lead to. What is pointed to and looked at outlives the call.
struct DetourRules {
  const Placement* placement = nullptr;
  const ReplicaHealth* health = nullptr;
  std::span<const ServerId> lost;  // servers that are asked no more in this step
  int32_t layer_idx = 0;
  bool may_ask_avoided = true;  // or a row that needs such a server stays
};

struct LegDetour {
  DispatchPlan plan;  // for others
  Leg rest;           // the rows that stay, empty where all of them have somewhere to go

  bool is_whole() const { return rest.num_rows() == 0; }
};

// Never leads to the leg's own server, nor to one that is silent: it would not be asked.
// REQUIRES: `leg` was planned from `top_k`
LegDetour plan_detour(const Leg& leg, const TopK& top_k, const DetourRules& rules);

}  // namespace conclave
