// What a checkpoint may hold beside the model itself, and nothing else.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "model/checkpoint/checkpoint.h"
#include "model/config/model_config.h"
#include "model/weights/tensor_source.h"

namespace conclave {

// `source` has been asked for every tensor of the model. The rest must be known and unused: layers
// of multi-token prediction, rotary tables that old versions stored, a head beside a tied
// embedding. Anything else is an error that names it. Returns the parameters of multi-token
// prediction.
absl::StatusOr<uint64_t> check_unknown_tensors(const Checkpoint& checkpoint,
                                               const ModelConfig& config,
                                               const TensorSource& source);

}  // namespace conclave
