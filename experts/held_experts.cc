#include "experts/held_experts.h"

#include <utility>

#include "common/check.h"

namespace conclave {

HeldExperts::HeldExperts(int32_t num_layers, int32_t num_experts)
    : num_layers_(num_layers),
      num_experts_(num_experts),
      experts_(static_cast<size_t>(num_layers) * static_cast<size_t>(num_experts)) {}

HeldExperts::HeldExperts(ExpertWeights weights)
    : HeldExperts(
          static_cast<int32_t>(weights.layers.size()),
          weights.layers.empty() ? 0 : static_cast<int32_t>(weights.layers.front().size())) {
  add(std::make_shared<const ExpertWeights>(std::move(weights)));
}

void HeldExperts::add(std::shared_ptr<const ExpertWeights> part) {
  CHECK(part->layers.size() == static_cast<size_t>(num_layers_));
  size_t at = 0;
  for (const auto& layer : part->layers) {
    CHECK(layer.size() == static_cast<size_t>(num_experts_));
    for (const auto& expert : layer) {
      std::shared_ptr<const FfnWeights>& held = experts_[at++];
      if (expert != nullptr && held == nullptr) held = {part, expert.get()};
    }
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
  return experts_[at].get();
}

}  // namespace conclave
