// Writes a checkpoint folder whose weights are int8 already, so that it is mapped and not converted
// at the next start, with the bits that converting at load gives. Source: docs/models.md.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "common/executor.h"
#include "model/checkpoint/checkpoint.h"
#include "model/config/model_config.h"
#include "model/weights/load_meter.h"
#include "model/weights/weight_types.h"

namespace conclave {

struct ConvertOptions {
  std::string out;  // a folder that is not there yet, or is empty
  WeightTypes types;
  uint64_t max_shard_bytes = uint64_t{4} << 30;
  Executor* executor = inline_executor();  // converts
};

// All or nothing: a folder of a temporary name beside `out` becomes `out` once all of it is
// written. Takes memory for a few blocks of rows. FAILED_PRECONDITION where `out` is in use, or
// nothing is to be converted; RESOURCE_EXHAUSTED where the disk has no room, before anything is
// written as far as that can be known.
absl::Status convert_model(const Checkpoint& checkpoint, const ModelConfig& config,
                           const ConvertOptions& options, LoadProgress progress);

}  // namespace conclave
