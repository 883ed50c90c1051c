#include "services/expert_server/expert_holding.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/host_memory.h"
#include "common/status_macros.h"
#include "experts/expert_engine.h"
#include "services/expert_server/low_priority.h"
#include "services/server/log.h"

namespace conclave {
namespace {

// Said before loading, or refused with the same words.
absl::Status check_memory(const ExpertServerFlags& flags, const ExpertHolding& holding) {
  const ModelFolder& folder = holding.folder;
  const uint64_t weights = holding.held_bytes();
  const uint64_t scratch = ExpertEngine::scratch_bytes(folder.config);
  const uint64_t available = host_memory().available_bytes;
  const bool fits = weights <= holding.capacity_bytes && weights + scratch <= available;
  log_info("loading", {{"experts", flags.experts},
                       {"num_experts", holding.held.size()},
                       {"weight_bytes", weights},
                       {"scratch_bytes", scratch},
                       {"capacity_bytes", holding.capacity_bytes},
                       {"available_bytes", available},
                       {"fits", fits}});
  if (fits || flags.overcommit) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrFormat(
      "the experts need %s and %s of scratch, the room for them is %s of %s available memory: it "
      "does not fit; --overcommit loads them all the same",
      format_bytes(weights), format_bytes(scratch), format_bytes(holding.capacity_bytes),
      format_bytes(available)));
}

// "auto", "auto:SET" or "SET".
absl::Status parse_experts(const ExpertServerFlags& flags, ExpertHolding* holding) {
  const ModelConfig& config = holding->folder.config;
  if (config.moe.gate.num_experts == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(flags.server.model, " has no routed experts: it needs no expert server"));
  }
  absl::string_view set = flags.experts;
  holding->managed = absl::ConsumePrefix(&set, "auto");
  holding->held = ExpertSet(config.num_layers, config.moe.gate.num_experts);
  if (holding->managed && set.empty()) return absl::OkStatus();
  if (holding->managed && !absl::ConsumePrefix(&set, ":")) {
    return absl::InvalidArgumentError(
        absl::StrCat("--experts ", flags.experts, ": auto is followed by nothing, or by :SET"));
  }
  ASSIGN_OR_RETURN(holding->held, ExpertSet::parse({set.data(), set.size()}, config));
  if (!holding->held.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--experts ", flags.experts, " are none"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ExpertHolding>> load_holding(const ExpertServerFlags& flags,
                                                            LoadProgress progress,
                                                            Executor* executor) {
  auto holding = std::make_unique<ExpertHolding>();
  ASSIGN_OR_RETURN(holding->folder,
                   read_model_folder(flags.server.model, flags.server.weights.types()));
  RETURN_IF_ERROR(parse_experts(flags, holding.get()));
  holding->capacity_bytes =
      flags.capacity_bytes == 0 ? host_memory().available_bytes : flags.capacity_bytes;
  RETURN_IF_ERROR(check_memory(flags, *holding));
  const ModelFolder& folder = holding->folder;
  absl::StatusOr<ExpertWeights> weights = absl::UnknownError("not loaded");
  run_at_low_priority([&] {
    weights = load_experts(*folder.checkpoint, folder.config, holding->held, progress,
                           {.types = folder.weights(), .executor = executor});
  });
  RETURN_IF_ERROR(weights.status());
  const uint64_t weight_bytes = weights->num_bytes;
  holding->weights = std::make_unique<HeldExperts>(*weights);
  // Control believes nobody who holds more than there is room for.
  holding->capacity_bytes = std::max(holding->capacity_bytes, holding->held_bytes());
  holding->profile = profile_of_weights(*folder.checkpoint, folder.weights());
  log_info("loaded", {{"weight_bytes", weight_bytes},
                      {"weight_type", holding->profile.weight_type},
                      {"instructions", holding->profile.instructions}});
  return holding;
}

}  // namespace conclave
