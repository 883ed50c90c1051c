// A form of attention: how a layer turns rows into rows by way of the cache. One form is one file
// in attention/forms/; the walk through the layers knows this interface alone.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "attention/latent_cache.h"
#include "attention/step.h"
#include "common/executor.h"
#include "common/rows.h"
#include "model/config/model_config.h"
#include "model/weights/weights.h"

namespace conclave {

class AttentionForm {
 public:
  virtual ~AttentionForm() = default;

  // What all layers of a step share, such as the angles of its positions.
  virtual void begin_step(const Step& step) = 0;

  // Some tokens of the step that began last, as one layer sees them. x and out are [count, D], x is
  // normalised already; they may be the same rows.
  struct Args {
    int32_t layer_idx = 0;
    const Step* step = nullptr;
    StepRows tokens;
    Rows<const float> x;
    Rows<float> out;
  };

  // Writes the tokens' rows of this layer into the cache, then attends. A token sees what earlier
  // calls have written for this layer, so a sequence's tokens come in the order of their positions.
  virtual void forward(const Args& args) = 0;
};

// Everything a form may need; all of it outlives the form. Scratch is taken now for `max_tokens`
// rows.
struct AttentionParts {
  const ModelConfig* config = nullptr;
  const TrunkWeights* trunk = nullptr;
  LatentCache* cache = nullptr;
  Executor* executor = nullptr;
  int32_t max_tokens = 0;
};

std::unique_ptr<AttentionForm> make_absorbed_mla(const AttentionParts& parts);

// Bytes of scratch that it takes for steps of `max_tokens` rows.
uint64_t absorbed_mla_scratch_bytes(const MlaConfig& mla, int32_t max_tokens);

}  // namespace conclave
