// Multi-head latent attention in the absorbed form, for prompts and generated tokens alike.
//
//   kv_a x  ->  [ c | k_r ]                    c = rms_norm(c), k_r = rope(k_r): the cached row
//   q x     ->  per head [ q_n | q_r ]         q_r = rope(q_r)
//   q_c     =   q_n UK                   [R]   UK = the head's nope rows of kv_b_proj
//   ctx     =   attend([q_c | q_r], cache)  [R]
//   o       =   W_o concat(UV ctx)             UV = the head's v rows of kv_b_proj
//
// UK and UV are row ranges of kv_b_proj as stored: matmul_t() and matmul() read it both ways, so
// the absorbed form costs no second copy of the weight. What is attended to is always the cached
// row, as rounded, also within a chunk (contract C1). Source: docs/models.md, arXiv 2405.04434.

#include <algorithm>
#include <span>
#include <vector>

#include "attention/attention_form.h"
#include "common/check.h"
#include "kernels/matmul.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"

namespace conclave {
namespace {

template <typename T>
std::span<const T> some_of(const std::vector<T>& all, StepRows tokens) {
  return std::span(all).subspan(static_cast<size_t>(tokens.first),
                                static_cast<size_t>(tokens.count));
}

class AbsorbedMla final : public AttentionForm {
 public:
  explicit AbsorbedMla(const AttentionParts& parts)
      : parts_(parts),
        mla_(parts.config->mla),
        frequencies_(rope_frequencies(mla_.rope)),
        cos_(parts.max_tokens, mla_.qk_rope_head_dim / 2),
        sin_(parts.max_tokens, mla_.qk_rope_head_dim / 2),
        latent_(parts.max_tokens, mla_.cache_cols()),
        q_low_(parts.max_tokens, std::max(mla_.q_lora_rank, 1)),
        q_(parts.max_tokens, mla_.num_heads * mla_.qk_head_dim()),
        q_absorbed_(parts.max_tokens, mla_.num_heads * mla_.cache_cols()),
        context_(parts.max_tokens, mla_.num_heads * mla_.kv_lora_rank),
        heads_(parts.max_tokens, mla_.num_heads * mla_.v_head_dim) {}

  void begin_step(const Step& step) override {
    const int32_t num_tokens = step.num_tokens();
    rope_angles({.positions = step.positions,
                 .frequencies = frequencies_,
                 .attention_factor = static_cast<float>(mla_.rope.attention_factor),
                 .cos = cos_.first_rows(num_tokens),
                 .sin = sin_.first_rows(num_tokens)});
  }

  void forward(const Args& args) override {
    const MlaWeights& weights = parts_.trunk->layers[args.layer_idx].attention;
    const Rows<const float> x = args.x;
    CHECK(x.num_rows == args.tokens.count);
    write_latents(args, weights);
    compute_queries(args, weights);
    absorb_queries(weights, x.num_rows);
    paged_mla({.cache = parts_.cache->layer(args.layer_idx),
               .queries = some_of(args.step->queries, args.tokens),
               .q = q_absorbed_.first_rows(x.num_rows),
               .out = context_.first_rows(x.num_rows),
               .num_heads = mla_.num_heads,
               .latent_cols = mla_.kv_lora_rank,
               .page_tokens = parts_.cache->page_tokens(),
               .softmax_scale = mla_.softmax_scale},
              parts_.executor);
    expand_heads(weights, x.num_rows);
    matmul({.x = heads_.first_rows(x.num_rows), .w = weights.o, .out = args.out}, parts_.executor);
  }

 private:
  // The cached row of every token: normalised latent, rotated key.
  void write_latents(const Args& args, const MlaWeights& weights) {
    const Rows<float> latent = latent_.first_rows(args.x.num_rows);
    matmul({.x = args.x, .w = weights.kv_a, .out = latent}, parts_.executor);
    const Rows<float> c = latent.cols(0, mla_.kv_lora_rank);
    rms_norm({.x = c, .weight = weights.kv_a_norm, .eps = mla_.latent_norm_eps, .out = c});
    rotate(latent, args.tokens, /*first_col=*/mla_.kv_lora_rank, /*head_stride=*/0,
           /*num_heads=*/1);
    parts_.cache->write(args.layer_idx, some_of(args.step->slots, args.tokens), latent);
  }

  void compute_queries(const Args& args, const MlaWeights& weights) {
    const Rows<const float> x = args.x;
    const Rows<float> q = q_.first_rows(x.num_rows);
    if (mla_.q_lora_rank == 0) {
      matmul({.x = x, .w = weights.q, .out = q}, parts_.executor);
    } else {
      const Rows<float> low = q_low_.first_rows(x.num_rows);
      matmul({.x = x, .w = weights.q_a, .out = low}, parts_.executor);
      rms_norm({.x = low, .weight = weights.q_a_norm, .eps = mla_.latent_norm_eps, .out = low});
      matmul({.x = low, .w = weights.q_b, .out = q}, parts_.executor);
    }
    rotate(q, args.tokens, /*first_col=*/mla_.qk_nope_head_dim, /*head_stride=*/mla_.qk_head_dim(),
           mla_.num_heads);
  }

  void rotate(Rows<float> x, StepRows tokens, int32_t first_col, int32_t head_stride,
              int32_t num_heads) {
    rope({.x = x,
          .first_col = first_col,
          .head_stride = head_stride,
          .num_heads = num_heads,
          .interleaved = mla_.rope.interleaved,
          .cos = cos_.view().rows(tokens.first, tokens.count),
          .sin = sin_.view().rows(tokens.first, tokens.count)});
  }

  // q [T, H * (nope + P)]  ->  q_absorbed [T, H * (R + P)], one task a head.
  void absorb_queries(const MlaWeights& weights, int32_t num_tokens) {
    const Rows<float> q = q_.first_rows(num_tokens);
    const Rows<float> absorbed = q_absorbed_.first_rows(num_tokens);
    parts_.executor->parallel_for(mla_.num_heads, [&](int64_t head) {
      const int32_t i = static_cast<int32_t>(head);
      const int32_t from = i * mla_.qk_head_dim();
      const int32_t to = i * mla_.cache_cols();
      matmul_t({.x = q.cols(from, mla_.qk_nope_head_dim),
                .w = weights.kv_b.rows(first_kv_b_row(i), mla_.qk_nope_head_dim),
                .out = absorbed.cols(to, mla_.kv_lora_rank)},
               inline_executor());
      const Rows<float> q_rope = q.cols(from + mla_.qk_nope_head_dim, mla_.qk_rope_head_dim);
      const Rows<float> place = absorbed.cols(to + mla_.kv_lora_rank, mla_.qk_rope_head_dim);
      for (int32_t t = 0; t < num_tokens; ++t) {
        std::copy_n(q_rope.row(t), mla_.qk_rope_head_dim, place.row(t));
      }
    });
  }

  // context [T, H * R]  ->  heads [T, H * v], one task a head.
  void expand_heads(const MlaWeights& weights, int32_t num_tokens) {
    const Rows<float> context = context_.first_rows(num_tokens);
    const Rows<float> heads = heads_.first_rows(num_tokens);
    parts_.executor->parallel_for(mla_.num_heads, [&](int64_t head) {
      const int32_t i = static_cast<int32_t>(head);
      matmul({.x = context.cols(i * mla_.kv_lora_rank, mla_.kv_lora_rank),
              .w = weights.kv_b.rows(first_kv_b_row(i) + mla_.qk_nope_head_dim, mla_.v_head_dim),
              .out = heads.cols(i * mla_.v_head_dim, mla_.v_head_dim)},
             inline_executor());
    });
  }

  // kv_b_proj is head-major; a head's nope rows come before its v rows.
  int32_t first_kv_b_row(int32_t head) const {
    return head * (mla_.qk_nope_head_dim + mla_.v_head_dim);
  }

  const AttentionParts parts_;
  const MlaConfig mla_;
  const std::vector<float> frequencies_;  // [P / 2]

  // Of the step, then scratch of a call, [max_tokens, ...] each.
  Matrix<float> cos_;         // P / 2
  Matrix<float> sin_;         // P / 2
  Matrix<float> latent_;      // R + P
  Matrix<float> q_low_;       // q_lora_rank
  Matrix<float> q_;           // H * (nope + P)
  Matrix<float> q_absorbed_;  // H * (R + P)
  Matrix<float> context_;     // H * R
  Matrix<float> heads_;       // H * v
};

}  // namespace

std::unique_ptr<AttentionForm> make_absorbed_mla(const AttentionParts& parts) {
  CHECK(parts.max_tokens >= 1);
  return std::make_unique<AbsorbedMla>(parts);
}

// The columns of AbsorbedMla's matrices, in their order.
uint64_t absorbed_mla_scratch_bytes(const MlaConfig& mla, int32_t max_tokens) {
  const int64_t heads = mla.num_heads;
  const int64_t cols = mla.qk_rope_head_dim + mla.cache_cols() + std::max(mla.q_lora_rank, 1) +
                       heads * mla.qk_head_dim() + heads * mla.cache_cols() +
                       heads * mla.kv_lora_rank + heads * mla.v_head_dim;
  return static_cast<uint64_t>(cols) * static_cast<uint64_t>(max_tokens) * sizeof(float);
}

}  // namespace conclave
