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

// The MLP of width `ffn_dim` under `prefix`: a dense layer, the shared expert, one routed expert.
absl::Status read_ffn_tensors(const std::string& prefix, int32_t hidden_dim, int32_t ffn_dim,
                              TensorSource* source, FfnWeights* ffn);

}  // namespace conclave
