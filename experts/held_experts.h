// The routed experts that a server holds at this moment. They may change between two batches: parts
// that were loaded come in, experts that nobody asks for any more go out.
//
// Memory goes back with each expert, when nobody else has it. What is mapped from the checkpoint is
// the page cache's and goes when the system wants it.
//
// Not thread-safe: the engine's thread changes it and reads it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/weights/expert_set.h"
#include "model/weights/weights.h"

namespace conclave {

class HeldExperts {
 public:
  // Holds nothing yet, of a model with L layers of E experts.
  HeldExperts(int32_t num_layers, int32_t num_experts);

  // All that `weights` has.
  explicit HeldExperts(const ExpertWeights& weights);

  // Takes in what `part` has and is not held yet.
  // REQUIRES: it is of the same shape
  void add(const ExpertWeights& part);

  // No effect for experts that are not held.
  // REQUIRES: `gone` is of the same shape
  void remove(const ExpertSet& gone);

  // Null for what is not held, or not of the model. Valid until it is removed.
  const FfnWeights* find(int32_t layer_idx, int32_t expert) const;

 private:
  const int32_t num_layers_;
  const int32_t num_experts_;
  std::vector<std::shared_ptr<const RoutedExpert>> experts_;  // [L * E]
};

}  // namespace conclave
