// A model folder, read but not loaded: what every process needs before it takes memory.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "model/checkpoint/checkpoint.h"
#include "model/config/model_config.h"
#include "model/config/read_config.h"
#include "model/tokenizer/tokenizer.h"
#include "model/weights/weights.h"

namespace conclave {

struct ModelFolder {
  std::string dir;
  ModelConfig config;
  GenerationConfig generation;
  std::unique_ptr<Checkpoint> checkpoint;
  std::unique_ptr<Tokenizer> tokenizer;  // null: the model serves ids
  ModelSize size;

  // What loading converts.
  const WeightTypes& weights() const { return size.converted; }

  // Ids that may be drawn: padding of the vocabulary beyond the tokenizer is not.
  int32_t num_drawable_ids() const;

  // FAILED_PRECONDITION naming the missing file where there is no tokenizer.
  absl::Status check_serves_text() const;
};

// `weights` is how the numbers are wanted; sizes are as they will be.
absl::StatusOr<ModelFolder> read_model_folder(const std::string& dir,
                                              const WeightTypes& weights = {});

}  // namespace conclave
