#include <cmath>

#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "router/gates/rules.h"

namespace conclave {
namespace {

absl::Status check_sizes(const GateConfig& config) {
  const int32_t num_experts = config.num_experts;
  const int32_t k = config.experts_per_token;
  if (num_experts > 0 && k > 0 && k <= num_experts) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("a gate cannot choose %d of %d experts", k, num_experts));
}

// Every token finds K experts in the groups it may use, and every group has what its key asks for.
absl::Status check_groups(const GateConfig& config) {
  const int32_t groups = config.num_groups;
  const int32_t kept = config.groups_per_token;
  if (groups < 1 || groups > kMaxExpertGroups || config.num_experts % groups != 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%d experts do not make %d groups", config.num_experts, groups));
  }
  const int32_t group_size = config.num_experts / groups;
  if (kept < 1 || kept > groups || config.experts_per_token > kept * group_size) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a gate cannot choose %d experts in %d of %d groups of %d",
                        config.experts_per_token, kept, groups, group_size));
  }
  const bool needs_two = config.method == GateMethod::kSigmoidNoAuxTc && kept < groups;
  if (needs_two && group_size < 2) {
    return absl::InvalidArgumentError("noaux_tc adds two experts of a group, and groups have one");
  }
  return absl::OkStatus();
}

absl::Status check_bias(const GateConfig& config, const float* bias) {
  for (int32_t e = 0; e < config.num_experts; ++e) {
    if (std::isfinite(bias[e])) continue;
    return absl::InvalidArgumentError(
        absl::StrFormat("the gate's bias of expert %d is %g", e, bias[e]));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<GateRule>> make_gate_rule(const GateConfig& config,
                                                         const float* bias) {
  RETURN_IF_ERROR(check_sizes(config));
  switch (config.method) {
    case GateMethod::kSoftmaxGreedy:
      return make_softmax_greedy(config);
    case GateMethod::kSoftmaxGroupLimitedGreedy:
      RETURN_IF_ERROR(check_groups(config));
      return make_group_limited_greedy(config);
    case GateMethod::kSigmoidNoAuxTc:
      CHECK(bias != nullptr);  // the loader refuses a checkpoint without it
      RETURN_IF_ERROR(check_groups(config));
      RETURN_IF_ERROR(check_bias(config, bias));
      return make_sigmoid_noaux_tc(config, bias);
  }
  return absl::UnimplementedError(
      absl::StrFormat("gate method %d has no file", static_cast<int32_t>(config.method)));
}

}  // namespace conclave
