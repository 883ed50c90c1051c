// Everything of an attention node but its weights and its experts, put together: latent cache, form
// of attention, walk through the layers, engine. All memory is taken in create().
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "attention/attention_form.h"
#include "attention/engine.h"
#include "attention/latent_cache.h"
#include "attention/layer_walk.h"
#include "common/executor.h"
#include "model/config/model_config.h"
#include "model/weights/weights.h"
#include "router/moe_layer.h"

namespace conclave {

class AttentionStack {
 public:
  struct Options {
    DType cache = DType::kBF16;   // f32 or bf16
    int32_t cache_tokens = 4096;  // rounded up to pages
    int32_t prefill_chunk = 512;
    int32_t max_running = 64;
    int32_t max_requests = 1024;
    int32_t num_ids = 0;  // see Engine::Options
    Overlap overlap = Overlap::kAuto;

    // A step has room for a whole chunk and for one token of everybody who runs.
    int32_t step_tokens() const { return std::max(prefill_chunk, max_running); }

    // cache_tokens as the cache will have it: whole pages.
    int64_t rounded_cache_tokens() const;
  };
  // All outlive the stack.
  struct Parts {
    const ModelConfig* config = nullptr;
    const TrunkWeights* trunk = nullptr;
    MoeLayer* moe = nullptr;
    Executor* executor = nullptr;
    const Clock* clock = nullptr;
  };

  // RESOURCE_EXHAUSTED when the memory cannot be had.
  static absl::StatusOr<std::unique_ptr<AttentionStack>> create(const Parts& parts,
                                                                const Options& options);

  // Bytes of cache and scratch that create() will take.
  static uint64_t num_bytes(const ModelConfig& config, const Options& options);

  Engine& engine() { return *engine_; }

 private:
  AttentionStack() = default;

  std::unique_ptr<LatentCache> cache_;
  std::unique_ptr<AttentionForm> attention_;
  std::unique_ptr<LayerWalk> walk_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace conclave
