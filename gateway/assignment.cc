#include "gateway/assignment.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "common/check.h"

namespace conclave {
namespace {

// Whether `a` goes before `b`. Fractions are compared as products, exactly.
bool better(const NodeState& a, const NodeState& b) {
  const auto load_a = static_cast<__int128>(a.outstanding_tokens) * b.cache_tokens;
  const auto load_b = static_cast<__int128>(b.outstanding_tokens) * a.cache_tokens;
  if (load_a != load_b) return load_a < load_b;
  if (a.num_requests != b.num_requests) return a.num_requests < b.num_requests;
  return a.server < b.server;
}

}  // namespace

absl::StatusOr<ServerId> choose_node(std::span<const NodeState> nodes, int64_t num_tokens) {
  const NodeState* best = nullptr;
  int64_t largest_cache = 0;
  for (const NodeState& node : nodes) {
    CHECK(node.cache_tokens > 0);
    largest_cache = std::max(largest_cache, node.cache_tokens);
    if (!node.has_room() || num_tokens > node.cache_tokens) continue;
    if (best == nullptr || better(node, *best)) best = &node;
  }
  if (best != nullptr) return best->server;
  if (nodes.empty() || num_tokens <= largest_cache) return kNoServer;
  return absl::ResourceExhaustedError(
      absl::StrFormat("prompt and max_tokens make %d ids to compute and the whole cache holds %d",
                      num_tokens, largest_cache));
}

}  // namespace conclave
