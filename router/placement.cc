#include "router/placement.h"

#include <set>

#include "common/check.h"

namespace conclave {

Placement::Placement(int32_t num_layers, int32_t num_experts, int64_t version)
    : num_layers_(num_layers),
      num_experts_(num_experts),
      version_(version),
      holders_(static_cast<size_t>(num_layers) * static_cast<size_t>(num_experts)),
      num_steady_(holders_.size(), 0) {}

Placement Placement::even(const ModelConfig& config, int32_t num_servers) {
  CHECK(num_servers >= 1);
  const int32_t num_experts = config.moe.gate.num_experts;
  Placement placement(config.num_layers, num_experts, /*version=*/1);
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    if (!config.is_moe_layer(layer)) continue;
    for (int32_t expert = 0; expert < num_experts; ++expert) {
      const int64_t home = int64_t{expert} * num_servers / num_experts;
      placement.add(layer, expert, ServerId{static_cast<int32_t>(home)});
    }
  }
  return placement;
}

size_t Placement::place(int32_t layer_idx, int32_t expert) const {
  CHECK(layer_idx >= 0 && layer_idx < num_layers_);
  CHECK(expert >= 0 && expert < num_experts_);
  return static_cast<size_t>(layer_idx) * static_cast<size_t>(num_experts_) +
         static_cast<size_t>(expert);
}

void Placement::add(int32_t layer_idx, int32_t expert, ServerId server, bool draining) {
  const size_t at = place(layer_idx, expert);
  CHECK(draining || num_steady_[at] == holders_[at].size());
  holders_[at].push_back(server);
  if (!draining) ++num_steady_[at];
  has_replicas_ = has_replicas_ || holders_[at].size() > 1;
}

size_t Placement::num_steady(int32_t layer_idx, int32_t expert) const {
  return num_steady_[place(layer_idx, expert)];
}

std::vector<ServerId> Placement::servers() const {
  std::set<ServerId> servers;
  for (const std::vector<ServerId>& holders : holders_) {
    servers.insert(holders.begin(), holders.end());
  }
  return {servers.begin(), servers.end()};
}

std::span<const ServerId> Placement::holders(int32_t layer_idx, int32_t expert) const {
  return holders_[place(layer_idx, expert)];
}

}  // namespace conclave
