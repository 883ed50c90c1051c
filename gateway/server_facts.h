// What servers tell control of themselves: once when they join, then with every heartbeat. All of
// it comes from outside; the checks here say what cannot be true (contract C5).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/ids.h"
#include "model/numeric_profile.h"
#include "model/weights/expert_set.h"

namespace conclave {

enum class ServerRole : uint8_t { kAttentionNode, kExpertServer };

// What a server says when it joins.
struct ServerFacts {
  ServerRole role = ServerRole::kAttentionNode;
  std::string id;               // unique in the cluster
  uint64_t incarnation = 0;     // random, made at the process's start
  std::string address;          // HOST:PORT of its services
  std::string metrics_address;  // HOST:PORT; may be empty
  NumericProfile profile;
  std::string version;  // of the software; may be empty

  // Expert servers.
  uint64_t capacity_bytes = 0;
  uint64_t held_bytes = 0;
  ExpertSet held;
  std::string shm_endpoint;   // where processes of its machine find it; empty: nowhere
  bool managed = false;       // it loads and releases experts as control orders
  uint64_t expert_bytes = 0;  // that one expert takes there; managed servers

  // Attention nodes.
  int64_t cache_tokens = 0;
  int32_t max_requests = 0;  // waiting and running
};

// A node's word for a placement version is taken up to here as one that an earlier control has
// published: below what a heartbeat may say at all, so that there is always room for the next ones.
inline constexpr int64_t kMaxAdoptedVersion = int64_t{1} << 61;

struct NodeLoad {
  int32_t num_running = 0;
  int32_t num_waiting = 0;
  int32_t num_stalled = 0;  // of those: waiting for an expert
  int32_t num_pages = 0;
  int32_t num_free_pages = 0;
  int64_t num_tokens = 0;  // generated since the start

  bool operator==(const NodeLoad&) const = default;
};

struct ExpertLoad {
  int32_t num_queued_legs = 0;
  std::vector<int64_t> picks;  // [L] answered since the start; may be empty: not told
};

// What an expert server holds now.
struct Holding {
  ExpertSet held;
  uint64_t held_bytes = 0;
  int64_t order = 0;           // the latest that it goes by; 0: none yet on this line to control
  std::string problem;         // why it does not load what it was ordered; empty: nothing
  std::vector<int64_t> picks;  // answered since the start by expert of `held`, ascending layers,
                               // in each ascending experts; may be empty: not told

  bool operator==(const Holding&) const = default;
};

// All that a managed expert server is to hold.
struct ExpertOrder {
  int64_t order = 0;  // from 1 on each line to control
  ExpertSet hold;

  bool operator==(const ExpertOrder&) const = default;
};

// What a server says again and again.
struct Heartbeat {
  bool draining = false;           // it wants to leave
  int64_t placement_version = 0;   // the newest in use there; attention nodes
  NodeLoad node;                   // attention nodes
  ExpertLoad experts;              // expert servers
  std::optional<Holding> holding;  // expert servers
};

// An attention node as those see it who give it work.
struct NodeInfo {
  ServerId server{};
  uint64_t incarnation = 0;  // another one under the same number is another process
  std::string id;
  std::string address;
  bool draining = false;
  int64_t cache_tokens = 0;
  int32_t max_requests = 0;
  NodeLoad load;
};

// INVALID_ARGUMENT naming the field and the value for what cannot be true of any server of a model
// whose routed experts are `all`.
absl::Status check_facts(const ServerFacts& facts, const ExpertSet& all);
absl::Status check_heartbeat(const Heartbeat& beat, int32_t num_layers);

// The same for an attention node as control tells frontends of it.
absl::Status check_node_info(const NodeInfo& info);

// The same for what a server of these facts says to hold.
absl::Status check_holding(const Holding& holding, const ServerFacts& facts, const ExpertSet& all);

}  // namespace conclave
