// Which tensors a converted checkpoint has, and which shard each is in: a value, made from headers
// alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/safetensors_writer.h"
#include "model/config/model_config.h"
#include "model/weights/tensor_source.h"
#include "model/weights/weight_types.h"

namespace conclave {

// A stored tensor and what becomes of it: the same bytes, or codes and, as the next head, scales.
struct PlannedTensor {
  const StoredTensor* stored = nullptr;
  std::optional<MatrixSpec> converted;  // where it becomes int8
  size_t head_idx = 0;                  // into PlannedShard::heads
};

struct PlannedShard {
  std::string file_name;
  std::vector<TensorHead> heads;
  std::vector<PlannedTensor> tensors;
  uint64_t num_bytes = 0;
};

struct ConversionPlan {
  std::vector<PlannedShard> shards;
  uint64_t num_bytes = 0;
  bool keeps_fp8 = false;  // some tensor stays fp8
};

// Of a checked model. A shard has at most `max_shard_bytes`, but for a tensor that alone has more.
// FAILED_PRECONDITION where nothing is to be converted.
absl::StatusOr<ConversionPlan> plan_conversion(const Checkpoint& checkpoint,
                                               const ModelConfig& config, const WeightTypes& types,
                                               uint64_t max_shard_bytes);

}  // namespace conclave
