// One chaos run: references in peace, constant load, faults one after the other, and what came of
// it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tests/chaos/chaos_cluster.h"
#include "tests/chaos/constant_load.h"
#include "tests/chaos/faults.h"

namespace conclave {

struct ChaosOptions {
  ChaosCluster::Options cluster;
  std::vector<const FaultKind*> faults;
  absl::Duration time = absl::Seconds(30);           // no fault begins later
  absl::Duration settle = absl::Milliseconds(1500);  // between a fault that is over and the next
  int32_t clients = 8;
  int32_t most_tokens = 400;
  uint64_t seed = 1;
  std::function<bool()> give_up = [] { return false; };  // asked between faults
  std::function<void(const std::string&)> say = [](const std::string&) {};
};

struct ChaosResult {
  std::vector<FaultRecord> faults;
  std::vector<StreamRecord> streams;  // in the order of their ends
  int64_t num_flipped = 0;            // bits, on all lines
  double prompt_pace = 0;             // seconds for an id of a prompt under load, without faults

  // A cluster that did not become whole, a process that ended by itself, pages that nobody gave
  // back. What happened until then is above.
  absl::Status status;
};

// Those of `names` that this cluster can have; without names all usual ones. An error names one
// that there is not.
absl::StatusOr<std::vector<const FaultKind*>> choose_faults(const std::vector<std::string>& names,
                                                            const std::string& transport);

// What they need to have broken.
ChaosCluster::Lines lines_of(const std::vector<const FaultKind*>& faults);

// Whether any of them needs enter_own_network(), before all else.
bool needs_own_network(const std::vector<const FaultKind*>& faults);

// An error: it did not come as far as the first fault.
absl::StatusOr<ChaosResult> run_chaos(const ChaosOptions& options);

struct StallFigures {
  int64_t num_faults = 0;
  std::vector<double> of_faults;      // of each that met a stream: its longest
  std::vector<double> beyond_replay;  // the same, less what the replay of all takes by itself
  std::vector<double> of_streams;     // of all streams that were open
  double longest = 0;
  std::string longest_of;  // which fault it was, and what had been before
};

// By the name of the kind. Only of streams whose clients read on and that were what they should be.
std::map<std::string, StallFigures> stalls_of(const ChaosResult& result);

// Every stream that was not what it should be: what it was, and the last fault before its end.
std::vector<std::string> complaints(const ChaosResult& result);

}  // namespace conclave
