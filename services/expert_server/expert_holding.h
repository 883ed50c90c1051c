// What an expert server holds: the model's folder, its share of the experts, and how much memory
// that takes. Immutable after loading.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "common/executor.h"
#include "model/numeric_profile.h"
#include "model/weights/expert_set.h"
#include "model/weights/load_meter.h"
#include "services/expert_server/expert_server_flags.h"
#include "services/local/model_folder.h"

namespace conclave {

struct ExpertHolding {
  ModelFolder folder;
  ExpertSet held;
  uint64_t capacity_bytes = 0;
  ExpertWeights weights;
  NumericProfile profile;
};

// RESOURCE_EXHAUSTED before anything is read where it does not fit and --overcommit is not given.
// `progress` is told how far it is, in bytes; `executor` converts.
absl::StatusOr<std::unique_ptr<ExpertHolding>> load_holding(const ExpertServerFlags& flags,
                                                            LoadProgress progress,
                                                            Executor* executor);

}  // namespace conclave
