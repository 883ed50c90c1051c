// What an attention node needs of a checkpoint, by name and shape. Source: docs/models.md.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "model/config/model_config.h"
#include "model/weights/tensor_source.h"
#include "model/weights/weights.h"

namespace conclave {

// "model.layers.<layer_idx>."
std::string layer_prefix(int32_t layer_idx);

// Fills `trunk` but for its bytes and owned memory.
absl::Status read_trunk_tensors(const ModelConfig& config, TensorSource* source,
                                TrunkWeights* trunk);

// The gates of all layers, as read_trunk_tensors() reads them; a dense layer's stays empty.
absl::Status read_gate_tensors(const ModelConfig& config, TensorSource* source,
                               std::vector<GateWeights>* layers);

// A dense layer, the shared expert or one routed expert.
struct FfnSpec {
  std::string prefix;
  int32_t hidden_dim = 0;
  int32_t ffn_dim = 0;
  WeightGroup group = WeightGroup::kShared;
};

absl::Status read_ffn_tensors(const FfnSpec& spec, TensorSource* source, FfnWeights* ffn);

}  // namespace conclave
