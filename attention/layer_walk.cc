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
      policy_(parts.overlap),
      hidden_(parts.max_tokens, config_.hidden_dim),
      normed_(parts.max_tokens, config_.hidden_dim),
      branch_(parts.max_tokens, config_.hidden_dim),
      shared_(parts.max_tokens, config_.hidden_dim),
      ffn_gate_(parts.max_tokens, widest_ffn(config_)),
      ffn_up_(parts.max_tokens, widest_ffn(config_)),
      last_(parts.max_logit_rows, config_.hidden_dim),
      logits_(parts.max_logit_rows, config_.vocab_size) {
  CHECK(parts.clock != nullptr);
  for (Half& half : halves_) half.moe = parts.moe->new_step();
}

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
  const absl::Time begun = parts_.clock->now();
  const absl::Duration waited_before = counters_.waited;
  num_tokens_ = step.num_tokens();
  cut(policy_.wants_halves(num_tokens_));
  faults->clear();
  const absl::Status status = walk_layers(step, faults);
  // Who holds addresses of a step that failed lets go of them before it is used again.
  for (Half& half : halves()) {
    if (half.away) finish_moe(&half).IgnoreError();
  }
  if (status.ok() && faults->empty()) {
    policy_.on_step({.num_tokens = num_tokens_,
                     .halves = num_halves_ == 2,
                     .time = parts_.clock->now() - begun,
                     .waited = counters_.waited - waited_before});
  }
  return status;
}

void LayerWalk::cut(bool halves) {
  num_halves_ = halves ? 2 : 1;
  counters_.num_halved_steps += halves ? 1 : 0;
  const int32_t first_of_b = halves ? (num_tokens_ + 1) / 2 : num_tokens_;
  halves_[0].rows = {0, first_of_b};
  halves_[1].rows = {first_of_b, num_tokens_ - first_of_b};
}

absl::Status LayerWalk::walk_layers(const Step& step, std::vector<RowFault>* faults) {
  embed_rows(parts_.trunk->embedding, step.ids, hidden_.first_rows(num_tokens_));
  parts_.attention->begin_step(step);
  for (int32_t layer = 0; layer < config_.num_layers; ++layer) {
    if (parts_.trunk->layers[layer].is_moe) {
      RETURN_IF_ERROR(begin_moe(layer, step, faults));
    } else {
      for (Half& half : halves()) RETURN_IF_ERROR(settle(&half, faults));
      run_dense(layer, step);
    }
  }
  for (Half& half : halves()) RETURN_IF_ERROR(settle(&half, faults));
  return absl::OkStatus();
}

// All of a layer but what its legs bring, which settle() adds.
absl::Status LayerWalk::begin_moe(int32_t layer_idx, const Step& step,
                                  std::vector<RowFault>* faults) {
  for (Half& half : halves()) {
    RETURN_IF_ERROR(settle(&half, faults));
    attend(layer_idx, step, half.rows);
    RETURN_IF_ERROR(parts_.moe->begin(layer_idx, part(normed_, half.rows), half.moe.get()));
    half.away = true;
  }
  if (config_.moe.shared_expert_dim > 0) {
    run_ffn(parts_.trunk->layers[layer_idx], part(shared_, whole()));
  }
  return absl::OkStatus();
}

// Routed experts first, in ascending id, then the shared one: the order of the sum is part of C1.
absl::Status LayerWalk::settle(Half* half, std::vector<RowFault>* faults) {
  if (!half->away) return absl::OkStatus();
  RETURN_IF_ERROR(finish_moe(half));
  const Rows<float> branch = part(branch_, half->rows);
  if (config_.moe.shared_expert_dim > 0) add_rows(part(shared_, half->rows), branch);
  add_rows(branch, part(hidden_, half->rows));
  // A row that went wrong goes wrong in every later layer too; its first fault is the one to tell.
  for (const RowFault& fault : half->moe->faults) {
    const int32_t token_idx = half->rows.first + fault.token_idx;
    const bool known = std::any_of(faults->begin(), faults->end(), [&](const RowFault& other) {
      return other.token_idx == token_idx;
    });
    if (!known) faults->push_back({token_idx, fault.status});
  }
  return absl::OkStatus();
}

absl::Status LayerWalk::finish_moe(Half* half) {
  const absl::Time begun = parts_.clock->now();
  half->away = false;
  const absl::Status status = parts_.moe->finish(half->moe.get(), part(branch_, half->rows));
  counters_.waited += parts_.clock->now() - begun;
  return status;
}

// Attention and its residual; afterwards `normed_` is what the layer's ffn takes.
void LayerWalk::attend(int32_t layer_idx, const Step& step, StepRows rows) {
  const LayerWeights& layer = parts_.trunk->layers[layer_idx];
  const Rows<float> hidden = part(hidden_, rows);
  const Rows<float> normed = part(normed_, rows);
  const Rows<float> branch = part(branch_, rows);
  rms_norm({.x = hidden, .weight = layer.input_norm, .eps = config_.rms_norm_eps, .out = normed});
  parts_.attention->forward(
      {.layer_idx = layer_idx, .step = &step, .tokens = rows, .x = normed, .out = branch});
  add_rows(branch, hidden);
  rms_norm({.x = hidden,
            .weight = layer.post_attention_norm,
            .eps = config_.rms_norm_eps,
            .out = normed});
}

void LayerWalk::run_dense(int32_t layer_idx, const Step& step) {
  attend(layer_idx, step, whole());
  const Rows<float> branch = part(branch_, whole());
  run_ffn(parts_.trunk->layers[layer_idx], branch);
  add_rows(branch, part(hidden_, whole()));
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
