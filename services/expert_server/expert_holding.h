// What an expert server starts with: the model's folder, the experts it is told to hold, and how
// much memory they may take.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "common/executor.h"
#include "experts/held_experts.h"
#include "model/numeric_profile.h"
#include "model/weights/expert_set.h"
#include "model/weights/load_meter.h"
#include "services/expert_server/expert_server_flags.h"
#include "services/local/model_folder.h"

namespace conclave {

struct ExpertHolding {
  ModelFolder folder;
  ExpertSet held;        // at the start
  bool managed = false;  // control orders what it holds later
  uint64_t capacity_bytes = 0;
  std::unique_ptr<HeldExperts> weights;  // the engine's, from its start on

  uint64_t held_bytes() const {
    return static_cast<uint64_t>(held.size()) * folder.size.expert_bytes;
  }
  NumericProfile profile;
};

// RESOURCE_EXHAUSTED before anything is read where it does not fit and --overcommit is not given.
// `progress` is told how far it is, in bytes; `executor` converts.
absl::StatusOr<std::unique_ptr<ExpertHolding>> load_holding(const ExpertServerFlags& flags,
                                                            LoadProgress progress,
                                                            Executor* executor);

}  // namespace conclave
