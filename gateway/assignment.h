// Which attention node a request is assigned to. A pure function: the one with the least load for
// its size among those that have room.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "common/ids.h"
#include "router/placement.h"

namespace conclave {

// A node as the choice sees it.
struct NodeState {
  ServerId server{};
  bool open = true;  // takes requests now: not draining, not full, not failing
  int64_t cache_tokens = 0;
  int32_t max_requests = 0;
  int64_t outstanding_tokens = 0;  // what its requests hold at their longest
  int32_t num_requests = 0;

  bool has_room() const { return open && num_requests < max_requests; }
};

// The node with the least outstanding_tokens / cache_tokens for a request that computes
// `num_tokens` at its longest; ties to fewer requests, then to the lower id. A node may be given
// more than its cache holds at once: its scheduler sees to that.
//
// kNoServer when none has room now. RESOURCE_EXHAUSTED when there are nodes and the request is
// longer than the cache of every one.
absl::StatusOr<ServerId> choose_node(std::span<const NodeState> nodes, int64_t num_tokens);

}  // namespace conclave
