// The walk of a step's rows through all layers:
//
//   h = embedding[id]
//   per layer:  h += attention(rms_norm(h))
//               h += ffn(rms_norm(h))             dense, or shared + routed experts
//   logits = head(rms_norm(h))
//
// The legs of an MoE layer are away while its shared expert is computed here. Where that leaves
// much waiting (attention/overlap_policy.h), the step goes in two halves, A and B, which compute in
// turn while the legs of the other are away; at layer l:
//
//   finish A of l - 1 · attention of A · begin A · finish B of l - 1 · attention of B · begin B ·
//   shared expert of both
//
// Dense layers and the shared expert take both halves at once, for the weights are read once then.
// The cut is in the middle, also where that is inside a prompt: A goes first in every layer, so
// that the rows which B's tokens see are in the cache, and A's tokens see none of B's, which lie
// behind them. Rows do not depend on each other, so halves change no bits.
//
// Residuals, norms and the gate are f32. Scratch is taken at creation for `max_tokens` rows. One
// thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "attention/attention_form.h"
#include "attention/overlap_policy.h"
#include "attention/step.h"
#include "common/clock.h"
#include "common/executor.h"
#include "common/rows.h"
#include "model/config/model_config.h"
#include "model/weights/weights.h"
#include "router/moe_layer.h"

namespace conclave {

class LayerWalk {
 public:
  struct Parts {
    const ModelConfig* config = nullptr;
    const TrunkWeights* trunk = nullptr;
    AttentionForm* attention = nullptr;
    MoeLayer* moe = nullptr;
    Executor* executor = nullptr;
    const Clock* clock = nullptr;  // measures what halves are worth
    Overlap overlap = Overlap::kAuto;
    int32_t max_tokens = 0;  // of a step
    int32_t max_logit_rows = 32;
  };

  // Since the start.
  struct Counters {
    int64_t num_halved_steps = 0;
    absl::Duration waited;  // for legs, with the adding up of what they brought
  };

  // All parts outlive the walk.
  explicit LayerWalk(const Parts& parts);

  // Runs a step. Tokens that went wrong alone are in `faults`, once each; an error means that the
  // step has no result at all. Afterwards logits() may be asked for any of its tokens, until the
  // next run().
  absl::Status run(const Step& step, std::vector<RowFault>* faults);

  // Raw logits of some tokens of the last step: [tokens.size(), V], valid until the next call.
  // REQUIRES: tokens.size() <= max_logit_rows
  Rows<const float> logits(std::span<const int32_t> tokens);

  // Bytes of scratch that a walk of these parts takes; only config and the two limits are read.
  static uint64_t scratch_bytes(const Parts& parts);

  int32_t max_tokens() const { return parts_.max_tokens; }
  int32_t max_logit_rows() const { return parts_.max_logit_rows; }
  const Counters& counters() const { return counters_; }

 private:
  // Rows that go through the layers together: half of the step, or all of it.
  struct Half {
    StepRows rows;
    std::unique_ptr<MoeStep> moe;
    bool away = false;  // its legs are, and its residual lacks what they bring
  };

  void cut(bool halves);
  std::span<Half> halves() { return {halves_.data(), static_cast<size_t>(num_halves_)}; }
  absl::Status walk_layers(const Step& step, std::vector<RowFault>* faults);
  absl::Status begin_moe(int32_t layer_idx, const Step& step, std::vector<RowFault>* faults);
  absl::Status settle(Half* half, std::vector<RowFault>* faults);
  absl::Status finish_moe(Half* half);
  void attend(int32_t layer_idx, const Step& step, StepRows rows);
  void run_dense(int32_t layer_idx, const Step& step);
  void run_ffn(const LayerWeights& layer, Rows<float> out);

  // Those rows of a matrix below.
  static Rows<float> part(Matrix<float>& all, StepRows rows) {
    return all.view().rows(rows.first, rows.count);
  }
  StepRows whole() const { return {0, num_tokens_}; }

  const Parts parts_;
  const ModelConfig& config_;
  OverlapPolicy policy_;
  Counters counters_;
  int32_t num_tokens_ = 0;  // of the last step
  int32_t num_halves_ = 1;
  std::array<Half, 2> halves_;

  Matrix<float> hidden_;    // [max_tokens, D] the residual stream
  Matrix<float> normed_;    // [max_tokens, D]
  Matrix<float> branch_;    // [max_tokens, D] what a layer's half adds
  Matrix<float> shared_;    // [max_tokens, D]
  Matrix<float> ffn_gate_;  // [max_tokens, F of the dense or shared MLP]
  Matrix<float> ffn_up_;
  Matrix<float> last_;    // [max_logit_rows, D]
  Matrix<float> logits_;  // [max_logit_rows, V]
};

}  // namespace conclave
