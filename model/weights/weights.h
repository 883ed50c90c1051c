// The weights of a model by what they are for, as views into a mapped checkpoint.
//
// A trunk is all that an attention node needs; expert weights are all that an expert server needs.
// Nobody loads the other's. Both loaders check the names and shapes of the whole checkpoint against
// the config first, so a missing, misshapen or unknown tensor is an error that names it whichever
// part of the model this process holds.
//
// Views point into the Checkpoint, which outlives the weights, and into `owned` memory (norms
// widened to f32, the few tensors whose bytes are not aligned in the file, and those that were
// converted to int8). Immutable after
// loading, so thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/executor.h"
#include "kernels/weight.h"
#include "model/checkpoint/checkpoint.h"
#include "model/config/model_config.h"
#include "model/weights/expert_set.h"
#include "model/weights/load_meter.h"
#include "model/weights/weight_types.h"

namespace conclave {

// down(silu(gate(x)) * up(x)): a dense layer, the shared expert or one routed expert.
struct FfnWeights {
  Weight gate;  // [F, D]
  Weight up;    // [F, D]
  Weight down;  // [D, F]
};

struct MlaWeights {
  Weight q;                          // [H * (nope + P), D]; plain queries only
  Weight q_a;                        // [q_lora_rank, D]; low-rank queries only, with the next two
  const float* q_a_norm = nullptr;   // [q_lora_rank]
  Weight q_b;                        // [H * (nope + P), q_lora_rank]
  Weight kv_a;                       // [R + P, D]
  const float* kv_a_norm = nullptr;  // [R]
  Weight kv_b;                       // [H * (nope + v), R], a head's nope rows before its v rows
  Weight o;                          // [D, H * v]
};

struct GateWeights {
  Weight weight;                // [E, D]
  const float* bias = nullptr;  // [E], noaux_tc only: for the choice, never for the weights
};

struct LayerWeights {
  const float* input_norm = nullptr;  // [D]
  MlaWeights attention;
  const float* post_attention_norm = nullptr;  // [D]
  bool is_moe = false;
  FfnWeights ffn;    // the dense MLP, or the shared expert of an MoE layer that has one
  GateWeights gate;  // MoE layers only
};

struct TrunkWeights {
  Weight embedding;                   // [V, D]
  std::vector<LayerWeights> layers;   // [L]
  const float* final_norm = nullptr;  // [D]
  Weight head;                        // [V, D]; the embedding where they are tied

  uint64_t num_bytes = 0;  // with scales: what serving reads
  std::vector<std::unique_ptr<float[]>> owned;
  std::vector<std::unique_ptr<std::byte[]>> owned_bytes;
};

// The gates of all layers; a dense layer's has no weight.
struct GateStack {
  std::vector<GateWeights> layers;  // [L]

  std::vector<std::unique_ptr<float[]>> owned;
  std::vector<std::unique_ptr<std::byte[]>> owned_bytes;
};

// Keeps what it needs by itself: it may go before those that were loaded with it, or outlive them.
struct RoutedExpert {
  FfnWeights ffn;

  std::vector<std::unique_ptr<float[]>> owned;
  std::vector<std::unique_ptr<std::byte[]>> owned_bytes;
};

struct ExpertWeights {
  // [L][E]; null where the layer is dense or another server holds the expert.
  std::vector<std::vector<std::shared_ptr<const RoutedExpert>>> layers;

  uint64_t num_bytes = 0;

  const FfnWeights* find(int32_t layer_idx, int32_t expert) const;
};

// How the numbers get from the checkpoint to the server.
struct LoadOptions {
  WeightTypes types;
  Executor* executor = inline_executor();  // converts; called from the loading thread
};

// Loading touches every page that serving will need and no other, so that the first request does
// not pay for the disk. `progress` is called now and then from the calling thread (load_meter.h).
absl::StatusOr<TrunkWeights> load_trunk(const Checkpoint& checkpoint, const ModelConfig& config,
                                        LoadProgress progress, const LoadOptions& options = {});
absl::StatusOr<ExpertWeights> load_experts(const Checkpoint& checkpoint, const ModelConfig& config,
                                           const ExpertSet& held, LoadProgress progress,
                                           const LoadOptions& options = {});

// The gates alone: what a gateway that routes needs.
absl::StatusOr<GateStack> load_gates(const Checkpoint& checkpoint, const ModelConfig& config);

// What a model weighs, counted from the headers, for `inspect` and for the check before loading.
struct ModelSize {
  uint64_t total_params = 0;  // without multi-token-prediction layers
  uint64_t active_params =
      0;  // read for one token: trunk without the embedding table, K experts a layer
  uint64_t mtp_params = 0;
  uint64_t trunk_bytes = 0;
  uint64_t expert_bytes = 0;  // of one routed expert of one layer, the largest
  uint64_t all_expert_bytes = 0;
  WeightTypes converted;  // the groups that loading would convert
};

// With the bytes that weights of `types` take.
absl::StatusOr<ModelSize> measure_model(const Checkpoint& checkpoint, const ModelConfig& config,
                                        const WeightTypes& types = {});

}  // namespace conclave
