#include "model/weights/mla_tensors.h"

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace conclave {
namespace {

MatrixSpec projection(const std::string& name, int32_t num_rows, int32_t num_cols) {
  return {
      .name = name, .num_rows = num_rows, .num_cols = num_cols, .group = WeightGroup::kAttention};
}

absl::Status read_queries(const MlaConfig& mla, int32_t hidden_dim, const std::string& prefix,
                          TensorSource* source, MlaWeights* weights) {
  const int32_t query_rows = mla.num_heads * mla.qk_head_dim();
  if (mla.q_lora_rank == 0) {
    return source->matrix(projection(absl::StrCat(prefix, "q_proj.weight"), query_rows, hidden_dim),
                          &weights->q);
  }
  RETURN_IF_ERROR(source->matrix(
      projection(absl::StrCat(prefix, "q_a_proj.weight"), mla.q_lora_rank, hidden_dim),
      &weights->q_a));
  RETURN_IF_ERROR(source->vector(absl::StrCat(prefix, "q_a_layernorm.weight"), mla.q_lora_rank,
                                 &weights->q_a_norm));
  return source->matrix(
      projection(absl::StrCat(prefix, "q_b_proj.weight"), query_rows, mla.q_lora_rank),
      &weights->q_b);
}

}  // namespace

absl::Status read_mla_tensors(const MlaConfig& mla, int32_t hidden_dim, const std::string& prefix,
                              TensorSource* source, MlaWeights* weights) {
  RETURN_IF_ERROR(read_queries(mla, hidden_dim, prefix, source, weights));
  RETURN_IF_ERROR(source->matrix(
      projection(absl::StrCat(prefix, "kv_a_proj_with_mqa.weight"), mla.cache_cols(), hidden_dim),
      &weights->kv_a));
  RETURN_IF_ERROR(source->vector(absl::StrCat(prefix, "kv_a_layernorm.weight"), mla.kv_lora_rank,
                                 &weights->kv_a_norm));
  // Of no group: absorbed attention multiplies with it both ways, and scales run one way.
  const int32_t key_value_rows = mla.num_heads * (mla.qk_nope_head_dim + mla.v_head_dim);
  RETURN_IF_ERROR(
      source->matrix({absl::StrCat(prefix, "kv_b_proj.weight"), key_value_rows, mla.kv_lora_rank},
                     &weights->kv_b));
  return source->matrix(
      projection(absl::StrCat(prefix, "o_proj.weight"), hidden_dim, mla.num_heads * mla.v_head_dim),
      &weights->o);
}

}  // namespace conclave
