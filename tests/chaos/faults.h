// The faults of a chaos run, by name: what each does to a cluster, how it is undone, and how long
// clients may see nothing because of it.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tests/chaos/chaos_cluster.h"
#include "tests/chaos/constant_load.h"

namespace conclave {

struct FaultKind {
  enum class Needs {
    kProcesses,
    kLegLines,      // to expert servers
    kNodeLines,     // of the gateway to attention nodes
    kControlLines,  // of servers to control
    kClientLines,
    kOwnNetwork
  };
  std::string name;
  std::string what;  // for people
  Needs needs = Needs::kProcesses;
  std::optional<double> goal_seconds;  // of the stall, for 99 of 100 faults
  bool is_usual = true;                // false: only when asked for by name
  bool goal_adds_replay = false;       // the goal is for what exceeds computing the ids again
};

// All that there are, in the order of docs/reliability.md.
const std::vector<FaultKind>& fault_kinds();
const FaultKind* find_fault_kind(const std::string& name);

struct FaultRecord {
  const FaultKind* kind = nullptr;
  std::string victim;
  absl::Time time;  // of its beginning, as logs tell it
  ChaosClock::time_point begin;
  ChaosClock::time_point end;  // when the cluster was whole again
  int64_t num_replayed = 0;    // ids that were computed again at another attention node
};

class FaultInjector {
 public:
  // `chaos` outlives this.
  FaultInjector(ChaosCluster* chaos, uint64_t seed);

  // Does it, undoes it, and waits until the cluster is whole. An error: it did not become so, or a
  // process ended by itself.
  absl::StatusOr<FaultRecord> inject(const FaultKind& kind);

  // The next of `kinds`: each once in random order, and again.
  const FaultKind& next(const std::vector<const FaultKind*>& kinds);

 private:
  struct Victim {
    ClusterRole role;
    int32_t idx;
  };

  absl::Status perform(const FaultKind& kind, FaultRecord* record);
  Victim any(ClusterRole role);
  Victim other_than(const Victim& victim);
  absl::Status kill(const std::vector<Victim>& victims);
  absl::Status stop_for(const Victim& victim, absl::Duration time);
  absl::Status drop_packets(const Victim& victim, const std::string& how);
  absl::Status break_line(const std::string& line, const std::string& how, absl::Duration time);
  absl::Status roll();
  absl::Status scale();

  ChaosCluster* const chaos_;
  std::mt19937_64 random_;
  std::vector<const FaultKind*> round_;  // what is left of it
};

}  // namespace conclave
