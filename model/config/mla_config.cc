#include "model/config/mla_config.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/config/limits.h"
#include "model/config/rope_config.h"

namespace conclave {
namespace {

// Rows of the projections, and what all heads have of a latent cache row (H * (R + P), of which
// H * R is a part), are counted in int32_t.
absl::Status check_products(const JsonReader& json, const MlaConfig& mla) {
  const int64_t widest =
      std::max({mla.qk_head_dim(), mla.qk_nope_head_dim + mla.v_head_dim, mla.cache_cols()});
  if (widest * mla.num_heads <= std::numeric_limits<int32_t>::max()) return absl::OkStatus();
  return json.invalid("num_attention_heads",
                      absl::StrCat("which with heads of ", widest, " numbers is too large"));
}

}  // namespace

absl::Status read_mla(const JsonReader& json, MlaConfig* mla) {
  RETURN_IF_ERROR(json.read("num_attention_heads", IntField{1, kMaxHeads}, &mla->num_heads));
  // null says plain queries; absent says the class default.
  mla->q_lora_rank = 0;
  if (!json.is_null("q_lora_rank")) {
    RETURN_IF_ERROR(json.read("q_lora_rank", IntField{1, kMaxLatentRank, 1536}, &mla->q_lora_rank));
  }
  RETURN_IF_ERROR(json.read("kv_lora_rank", IntField{1, kMaxLatentRank, 512}, &mla->kv_lora_rank));
  RETURN_IF_ERROR(
      json.read("qk_nope_head_dim", IntField{1, kMaxHeadDim, 128}, &mla->qk_nope_head_dim));
  RETURN_IF_ERROR(
      json.read("qk_rope_head_dim", IntField{2, kMaxHeadDim, 64}, &mla->qk_rope_head_dim));
  RETURN_IF_ERROR(json.read("v_head_dim", IntField{1, kMaxHeadDim, 128}, &mla->v_head_dim));
  if (mla->qk_rope_head_dim % 2 != 0) return json.invalid("qk_rope_head_dim", "expected pairs");
  RETURN_IF_ERROR(check_products(json, *mla));

  ASSIGN_OR_RETURN(const RopeConfig rope, read_rope(json));
  mla->rope = rope.params;
  mla->rope.num_dims = mla->qk_rope_head_dim;
  RETURN_IF_ERROR(json.read("rope_interleave", true, &mla->rope.interleaved));
  mla->softmax_scale =
      static_cast<float>(rope.softmax_factor / std::sqrt(static_cast<double>(mla->qk_head_dim())));
  return absl::OkStatus();
}

}  // namespace conclave
