#include "gateway/server_facts.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "gateway/names.h"

namespace conclave {
namespace {

constexpr uint64_t kMaxCapacityBytes = uint64_t{1} << 50;
constexpr size_t kMaxProblemBytes = 1024;
constexpr int64_t kMaxCacheTokens = int64_t{1} << 40;
constexpr int64_t kMaxPlacementVersion = int64_t{1} << 62;  // there is always a next one
static_assert(kMaxAdoptedVersion < kMaxPlacementVersion);

absl::Status check_profile(const NumericProfile& profile) {
  const std::pair<const char*, const std::string*> fields[] = {
      {"profile.weights", &profile.weights},
      {"profile.weight_type", &profile.weight_type},
      {"profile.trunk_type", &profile.trunk_type},
      {"profile.instructions", &profile.instructions},
      {"profile.wire_out", &profile.wire_out},
      {"profile.wire_back", &profile.wire_back},
      {"profile.cache_type", &profile.cache_type},
      {"profile.attention_form", &profile.attention_form},
  };
  for (const auto& [name, value] : fields) {
    if (!value->empty()) RETURN_IF_ERROR(check_name(name, *value));
  }
  return absl::OkStatus();
}

absl::Status check_held(const ExpertSet& held, const ExpertSet& all) {
  if (held.num_layers() != all.num_layers() || held.num_experts() != all.num_experts()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "held is of %d layers with %d experts, the model has %d with %d", held.num_layers(),
        held.num_experts(), all.num_layers(), all.num_experts()));
  }
  const ExpertSet unknown = held.minus(all);
  if (unknown.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("held names experts that the model does not have: ", unknown.to_string()));
}

absl::Status check_expert_server(const ServerFacts& facts, const ExpertSet& all) {
  if (facts.capacity_bytes < 1 || facts.capacity_bytes > kMaxCapacityBytes) {
    return absl::InvalidArgumentError(absl::StrFormat("capacity_bytes is %d, must be in [1, %d]",
                                                      facts.capacity_bytes, kMaxCapacityBytes));
  }
  if (facts.held_bytes > facts.capacity_bytes) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "held_bytes is %d, more than capacity_bytes %d", facts.held_bytes, facts.capacity_bytes));
  }
  if (!facts.shm_endpoint.empty()) {
    RETURN_IF_ERROR(check_name("shm_endpoint", facts.shm_endpoint));
  }
  if (facts.managed && (facts.expert_bytes < 1 || facts.expert_bytes > facts.capacity_bytes)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("expert_bytes is %d, must be in [1, capacity_bytes] of a managed server",
                        facts.expert_bytes));
  }
  if (facts.held.empty() && !facts.managed) {
    return absl::InvalidArgumentError("held is empty: the server has no expert");
  }
  return check_held(facts.held, all);
}

// Of an attention node: ServerFacts or NodeInfo.
template <typename Node>
absl::Status check_room(const Node& node) {
  if (node.cache_tokens < 1 || node.cache_tokens > kMaxCacheTokens) {
    return absl::InvalidArgumentError(absl::StrFormat("cache_tokens is %d, must be in [1, %d]",
                                                      node.cache_tokens, kMaxCacheTokens));
  }
  if (node.max_requests >= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("max_requests is %d, must be at least 1", node.max_requests));
}

absl::Status check_count(const char* name, int64_t count) {
  if (count >= 0 && count < kMaxPlacementVersion) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("%s is %d, must be in [0, %d)", name, count, kMaxPlacementVersion));
}

absl::Status check_load(const NodeLoad& load) {
  RETURN_IF_ERROR(check_count("num_running", load.num_running));
  RETURN_IF_ERROR(check_count("num_waiting", load.num_waiting));
  RETURN_IF_ERROR(check_count("num_stalled", load.num_stalled));
  RETURN_IF_ERROR(check_count("num_pages", load.num_pages));
  RETURN_IF_ERROR(check_count("num_free_pages", load.num_free_pages));
  return check_count("num_tokens", load.num_tokens);
}

}  // namespace

absl::Status check_facts(const ServerFacts& facts, const ExpertSet& all) {
  RETURN_IF_ERROR(check_name("server_id", facts.id));
  RETURN_IF_ERROR(check_address("address", facts.address));
  if (!facts.metrics_address.empty()) {
    RETURN_IF_ERROR(check_address("metrics_address", facts.metrics_address));
  }
  if (!facts.version.empty()) RETURN_IF_ERROR(check_name("version", facts.version));
  RETURN_IF_ERROR(check_profile(facts.profile));
  const bool is_node = facts.role == ServerRole::kAttentionNode;
  return is_node ? check_room(facts) : check_expert_server(facts, all);
}

absl::Status check_node_info(const NodeInfo& info) {
  RETURN_IF_ERROR(check_name("server_id", info.id));
  RETURN_IF_ERROR(check_address("address", info.address));
  RETURN_IF_ERROR(check_room(info));
  RETURN_IF_ERROR(check_load(info.load));
  if (info.server >= ServerId{0}) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("server_no is %d, must be at least 0", static_cast<int32_t>(info.server)));
}

absl::Status check_holding(const Holding& holding, const ServerFacts& facts, const ExpertSet& all) {
  if (holding.order < 0) return absl::InvalidArgumentError("order is negative");
  if (holding.problem.size() > kMaxProblemBytes) {
    return absl::InvalidArgumentError(absl::StrFormat("problem has %d bytes, must have at most %d",
                                                      holding.problem.size(), kMaxProblemBytes));
  }
  if (holding.held_bytes > facts.capacity_bytes) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "held_bytes is %d, more than capacity_bytes %d", holding.held_bytes, facts.capacity_bytes));
  }
  RETURN_IF_ERROR(check_held(holding.held, all));
  if (!facts.managed && holding.held != facts.held) {
    return absl::InvalidArgumentError(
        "a server that is not managed holds something else than before");
  }
  const std::vector<int64_t>& picks = holding.picks;
  if (!picks.empty() && static_cast<int64_t>(picks.size()) != holding.held.size()) {
    return absl::InvalidArgumentError(absl::StrFormat("holding.picks has %d experts, held has %d",
                                                      picks.size(), holding.held.size()));
  }
  if (std::all_of(picks.begin(), picks.end(), [](int64_t count) { return count >= 0; })) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("holding.picks has a negative count");
}

absl::Status check_heartbeat(const Heartbeat& beat, int32_t num_layers) {
  RETURN_IF_ERROR(check_load(beat.node));
  RETURN_IF_ERROR(check_count("num_queued_legs", beat.experts.num_queued_legs));
  RETURN_IF_ERROR(check_count("placement_version", beat.placement_version));
  const std::vector<int64_t>& picks = beat.experts.picks;
  if (!picks.empty() && picks.size() != static_cast<size_t>(num_layers)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("picks has %d layers, the model has %d", picks.size(), num_layers));
  }
  if (std::all_of(picks.begin(), picks.end(), [](int64_t count) { return count >= 0; })) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("picks has a negative count");
}

}  // namespace conclave
