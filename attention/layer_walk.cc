#include "attention/layer_walk.h"

#include <algorithm>

#include "common/check.h"
#include "common/status_macros.h"
#include "kernels/matmul.h"
#include "kernels/rms_norm.h"
#include "kernels/vector_ops.h"
#include "model/embedding.h"
#include "model/ffn.h"

namespace conclave {
namespace {

int32_t widest_ffn(const ModelConfig& config) {
  return std::max({config.dense_dim, config.moe.shared_expert_dim, 1});
}

}  // namespace

LayerWalk::LayerWalk(const Parts& parts)
    : parts_(parts),
      config_(*parts.config),
      moe_step_(parts.moe->new_step()),
      hidden_(parts.max_tokens, config_.hidden_dim),
      normed_(parts.max_tokens, config_.hidden_dim),
      branch_(parts.max_tokens, config_.hidden_dim),
      shared_(parts.max_tokens, config_.hidden_dim),
      ffn_gate_(parts.max_tokens, widest_ffn(config_)),
      ffn_up_(parts.max_tokens, widest_ffn(config_)),
      last_(parts.max_logit_rows, config_.hidden_dim),
      logits_(parts.max_logit_rows, config_.vocab_size) {}

// The columns of the matrices above, in their order.
uint64_t LayerWalk::scratch_bytes(const Parts& parts) {
  const int64_t hidden_dim = parts.config->hidden_dim;
  const int64_t step_cols = 4 * hidden_dim + 2 * int64_t{widest_ffn(*parts.config)};
  const int64_t logit_cols = hidden_dim + parts.config->vocab_size;
  return static_cast<uint64_t>(step_cols * parts.max_tokens + logit_cols * parts.max_logit_rows) *
         sizeof(float);
}

absl::Status LayerWalk::run(const Step& step, std::vector<RowFault>* faults) {
  CHECK(step.num_tokens() >= 1);
  CHECK(step.num_tokens() <= parts_.max_tokens);
  num_tokens_ = step.num_tokens();
  faults->clear();
  embed_rows(parts_.trunk->embedding, step.ids, hidden_.first_rows(num_tokens_));
  parts_.attention->begin_step(step);
  for (int32_t layer = 0; layer < config_.num_layers; ++layer) {
    RETURN_IF_ERROR(run_layer(layer, step, faults));
  }
  return absl::OkStatus();
}

absl::Status LayerWalk::run_layer(int32_t layer_idx, const Step& step,
                                  std::vector<RowFault>* faults) {
  const LayerWeights& layer = parts_.trunk->layers[layer_idx];
  const Rows<float> hidden = hidden_.first_rows(num_tokens_);
  const Rows<float> normed = normed_.first_rows(num_tokens_);
  const Rows<float> branch = branch_.first_rows(num_tokens_);

  rms_norm({.x = hidden, .weight = layer.input_norm, .eps = config_.rms_norm_eps, .out = normed});
  parts_.attention->forward(layer_idx, step, normed, branch);
  add_rows(branch, hidden);

  rms_norm({.x = hidden,
            .weight = layer.post_attention_norm,
            .eps = config_.rms_norm_eps,
            .out = normed});
  if (layer.is_moe) {
    RETURN_IF_ERROR(run_moe(layer_idx, faults));
  } else {
    run_ffn(layer, branch);
  }
  add_rows(branch, hidden);
  return absl::OkStatus();
}

// Routed experts first, in ascending id, then the shared one: the order of the sum is part of C1.
absl::Status LayerWalk::run_moe(int32_t layer_idx, std::vector<RowFault>* faults) {
  const LayerWeights& layer = parts_.trunk->layers[layer_idx];
  const Rows<float> branch = branch_.first_rows(num_tokens_);
  RETURN_IF_ERROR(parts_.moe->begin(layer_idx, normed_.first_rows(num_tokens_), moe_step_.get()));
  const bool has_shared = config_.moe.shared_expert_dim > 0;
  if (has_shared) run_ffn(layer, shared_.first_rows(num_tokens_));
  RETURN_IF_ERROR(parts_.moe->finish(moe_step_.get(), branch));
  if (has_shared) add_rows(shared_.first_rows(num_tokens_), branch);
  // A row that went wrong goes wrong in every later layer too; its first fault is the one to tell.
  for (const RowFault& fault : moe_step_->faults) {
    const bool known = std::any_of(faults->begin(), faults->end(), [&](const RowFault& other) {
      return other.token_idx == fault.token_idx;
    });
    if (!known) faults->push_back(fault);
  }
  return absl::OkStatus();
}

void LayerWalk::run_ffn(const LayerWeights& layer, Rows<float> out) {
  const int32_t width = layer.ffn.gate.num_rows;
  ffn({.weights = &layer.ffn,
       .x = normed_.first_rows(num_tokens_),
       .gate = ffn_gate_.first_rows(num_tokens_).cols(0, width),
       .up = ffn_up_.first_rows(num_tokens_).cols(0, width),
       .out = out},
      parts_.executor);
}

Rows<const float> LayerWalk::logits(std::span<const int32_t> tokens) {
  const int32_t count = static_cast<int32_t>(tokens.size());
  CHECK(count <= parts_.max_logit_rows);
  for (int32_t i = 0; i < count; ++i) {
    CHECK(tokens[i] >= 0 && tokens[i] < num_tokens_);
    rms_norm({.x = hidden_.view().rows(tokens[i], 1),
              .weight = parts_.trunk->final_norm,
              .eps = config_.rms_norm_eps,
              .out = last_.view().rows(i, 1)});
  }
  const Rows<float> out = logits_.first_rows(count);
  matmul({.x = last_.first_rows(count), .w = parts_.trunk->head, .out = out}, parts_.executor);
  return out;
}

}  // namespace conclave
