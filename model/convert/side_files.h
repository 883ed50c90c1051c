// The files of a converted folder beside its shards.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "model/config/model_config.h"
#include "model/convert/conversion_plan.h"

namespace conclave {

// config.json with what it is now, the index where there are several shards, and copies of the
// tokenizer's and other small files that a model folder has. `to` is an existing folder.
absl::Status write_side_files(const std::string& from, const std::string& to,
                              const ModelConfig& config, const ConversionPlan& plan);

}  // namespace conclave
