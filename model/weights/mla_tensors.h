// The tensors of multi-head latent attention. Source: docs/models.md.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "model/config/model_config.h"
#include "model/weights/tensor_source.h"
#include "model/weights/weights.h"

namespace conclave {

// `prefix` ends in "self_attn.".
absl::Status read_mla_tensors(const MlaConfig& mla, int32_t hidden_dim, const std::string& prefix,
                              TensorSource* source, MlaWeights* weights);

}  // namespace conclave
