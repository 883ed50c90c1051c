// One leg as an expert server works on it, and the check that stands between the outside and a
// kernel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/dtype.h"
#include "common/shared_bytes.h"
#include "experts/held_experts.h"
#include "model/config/model_config.h"

namespace conclave {

// M rows and N picks. Views; whoever submits the job keeps their memory until `done` was called.
struct ExpertJob {
  int32_t layer_idx = 0;
  std::span<const int32_t> pick_begin;   // [M + 1]
  std::span<const int32_t> pick_expert;  // [N] ids in the model
  DType row_type = DType::kBF16;         // f32, bf16 or fp8
  int32_t num_cols = 0;                  // D
  std::span<const std::byte> rows;       // [M, D] packed
  DType reply_type = DType::kBF16;       // f32 or bf16

  // Called once, on the thread that runs the batcher: one row per pick, packed [N, D] of
  // reply_type, or what was wrong.
  std::function<void(absl::StatusOr<SharedBytes>)> done;

  int32_t num_rows() const { return static_cast<int32_t>(pick_begin.size()) - 1; }
  int32_t num_picks() const { return static_cast<int32_t>(pick_expert.size()); }
};

// INVALID_ARGUMENT for a job that no server could run (shape, type, CSR, ids outside the model),
// NOT_FOUND naming the expert for one that is held elsewhere.
absl::Status check_job(const ExpertJob& job, const ModelConfig& config, const HeldExperts& weights);

}  // namespace conclave
