// The methods of choosing experts, one file each. make_gate_rule() in router/gate.h picks among
// them.
//
// `config` was checked by make_gate_rule: sizes positive, groups divide E, K experts fit into the
// groups that a token may use. Rules have no state but these numbers: thread-safe.
#pragma once

#include <memory>

#include "router/gate.h"

namespace conclave {

inline constexpr int32_t kMaxExpertGroups = 256;

std::unique_ptr<GateRule> make_softmax_greedy(const GateConfig& config);
std::unique_ptr<GateRule> make_group_limited_greedy(const GateConfig& config);

// `bias` is [E] and outlives the rule.
std::unique_ptr<GateRule> make_sigmoid_noaux_tc(const GateConfig& config, const float* bias);

}  // namespace conclave
