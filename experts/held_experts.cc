#include "experts/held_experts.h"

#include <algorithm>

#include "common/check.h"

namespace conclave {
namespace {

// Layers that are dense have a row of none, or none at all.
int32_t num_experts_of(const ExpertWeights& weights) {
  size_t most = 0;
  for (const auto& layer : weights.layers) most = std::max(most, layer.size());
  return static_cast<int32_t>(most);
}

}  // namespace

HeldExperts::HeldExperts(int32_t num_layers, int32_t num_experts)
    : num_layers_(num_layers),
      num_experts_(num_experts),
      experts_(static_cast<size_t>(num_layers) * static_cast<size_t>(num_experts)) {}

HeldExperts::HeldExperts(const ExpertWeights& weights)
    : HeldExperts(static_cast<int32_t>(weights.layers.size()), num_experts_of(weights)) {
  add(weights);
}

void HeldExperts::add(const ExpertWeights& part) {
  CHECK(part.layers.size() == static_cast<size_t>(num_layers_));
  auto held = experts_.begin();
  for (const auto& layer : part.layers) {
    CHECK(layer.empty() || layer.size() == static_cast<size_t>(num_experts_));
    for (size_t e = 0; e < layer.size(); ++e) {
      if (held[e] == nullptr) held[e] = layer[e];
    }
    held += num_experts_;
  }
}

void HeldExperts::remove(const ExpertSet& gone) {
  CHECK(gone.num_layers() == num_layers_ && gone.num_experts() == num_experts_);
  size_t at = 0;
  for (int32_t layer = 0; layer < num_layers_; ++layer) {
    for (int32_t expert = 0; expert < num_experts_; ++expert, ++at) {
      if (gone.contains(layer, expert)) experts_[at].reset();
    }
  }
}

const FfnWeights* HeldExperts::find(int32_t layer_idx, int32_t expert) const {
  if (layer_idx < 0 || layer_idx >= num_layers_) return nullptr;
  if (expert < 0 || expert >= num_experts_) return nullptr;
  const size_t at = static_cast<size_t>(layer_idx) * static_cast<size_t>(num_experts_) +
                    static_cast<size_t>(expert);
  return experts_[at] == nullptr ? nullptr : &experts_[at]->ffn;
}

}  // namespace conclave
