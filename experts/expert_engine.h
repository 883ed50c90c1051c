// Runs rows through experts: for every expert that somebody picked, its rows are gathered, go
// through one SwiGLU MLP together, and each answer goes back to its pick.
//
//   x [M, D] of each job, as rounded for the wire  ->  said [N, D], one row per pick, unweighted
//
// A row's answer does not depend on the other rows of the group (kernels/matmul.h), so merging
// jobs, cutting them or moving experts to other servers changes no bit (contract C1).
//
// One thread calls run(). Scratch is taken at creation for `max_group_rows` rows of one expert;
// larger groups are run in pieces.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/executor.h"
#include "common/rows.h"
#include "experts/expert_job.h"
#include "experts/held_experts.h"
#include "model/config/model_config.h"

namespace conclave {

class ExpertEngine {
 public:
  static constexpr int32_t kDefaultGroupRows = 256;

  // `weights` and `executor` outlive the engine.
  ExpertEngine(const ModelConfig& config, const HeldExperts* weights, Executor* executor,
               int32_t max_group_rows = kDefaultGroupRows);

  // Bytes of scratch that an engine takes.
  static uint64_t scratch_bytes(const ModelConfig& config,
                                int32_t max_group_rows = kDefaultGroupRows);

  // Runs checked jobs of one layer together. said[i] is job i's answer, packed in its reply type.
  // REQUIRES: check_job() was OK for every job, and all are of `layer_idx`
  std::vector<SharedBytes> run(int32_t layer_idx, std::span<const ExpertJob> jobs);

 private:
  // One pick of one job, by where its row is and where its answer goes.
  struct PickPlace {
    int32_t expert;
    int32_t job;
    int32_t row;
    int32_t pick;
  };

  static std::vector<PickPlace> picks_by_expert(std::span<const ExpertJob> jobs);
  void run_group(const FfnWeights& weights, std::span<const PickPlace> group,
                 std::span<const ExpertJob> jobs, std::vector<SharedBytes>* said);

  const int32_t hidden_dim_;  // D
  const HeldExperts* const weights_;
  Executor* const executor_;
  Matrix<float> x_;     // [max_group_rows, D]
  Matrix<float> gate_;  // [max_group_rows, F]
  Matrix<float> up_;    // [max_group_rows, F]
  Matrix<float> out_;   // [max_group_rows, D]
};

}  // namespace conclave
