// The walk of a step's rows through all layers:
//
//   h = embedding[id]
//   per layer:  h += attention(rms_norm(h))
//               h += ffn(rms_norm(h))             dense, or shared + routed experts
//   logits = head(rms_norm(h))
//
// The legs of an MoE layer are away while its shared expert is computed here. Residuals, norms and
// the gate are f32. Scratch is taken at creation for `max_tokens` rows. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "attention/attention_form.h"
#include "attention/step.h"
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
    int32_t max_tokens = 0;  // of a step
    int32_t max_logit_rows = 32;
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

 private:
  absl::Status run_layer(int32_t layer_idx, const Step& step, std::vector<RowFault>* faults);
  absl::Status run_moe(int32_t layer_idx, std::vector<RowFault>* faults);
  void run_ffn(const LayerWeights& layer, Rows<float> out);

  const Parts parts_;
  const ModelConfig& config_;
  const std::unique_ptr<MoeStep> moe_step_;
  int32_t num_tokens_ = 0;  // of the last step

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
