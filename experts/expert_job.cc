#include "experts/expert_job.h"

#include "absl/strings/str_format.h"
#include "common/checked_math.h"
#include "common/status_macros.h"
#include "kernels/row_codec.h"

namespace conclave {
namespace {

// pick_begin ascends from 0 to N, and every row has at least one pick.
absl::Status check_csr(const ExpertJob& job) {
  if (job.pick_begin.size() < 2 || job.pick_begin.front() != 0 ||
      job.pick_begin.back() != job.num_picks()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "pick_begin must run from 0 to the %d picks and name at least one row", job.num_picks()));
  }
  for (int32_t m = 0; m < job.num_rows(); ++m) {
    if (job.pick_begin[m] < job.pick_begin[m + 1]) continue;
    return absl::InvalidArgumentError(
        absl::StrFormat("pick_begin does not ascend at row %d: %d, %d", m, job.pick_begin[m],
                        job.pick_begin[m + 1]));
  }
  return absl::OkStatus();
}

absl::Status check_shape(const ExpertJob& job, const ModelConfig& config) {
  if (!is_row_type(job.row_type) || !is_reply_type(job.reply_type)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("rows of %s that ask for %s; rows are f32, bf16 or fp8 and answered in f32 "
                        "or bf16",
                        dtype_name(job.row_type), dtype_name(job.reply_type)));
  }
  if (job.num_cols != config.hidden_dim) {
    return absl::InvalidArgumentError(
        absl::StrFormat("rows have %d columns, the model has %d", job.num_cols, config.hidden_dim));
  }
  const uint64_t row_bytes = packed_row_bytes(job.row_type, job.num_cols);
  const auto num_bytes = checked_mul(static_cast<uint64_t>(job.num_rows()), row_bytes);
  if (!num_bytes || *num_bytes != job.rows.size()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%d rows of %d bytes do not make the %d bytes given", job.num_rows(),
                        row_bytes, job.rows.size()));
  }
  return absl::OkStatus();
}

// Within a row experts ascend, so none is asked twice.
absl::Status check_experts(const ExpertJob& job, const ModelConfig& config,
                           const HeldExperts& weights) {
  for (int32_t m = 0; m < job.num_rows(); ++m) {
    for (int32_t p = job.pick_begin[m]; p < job.pick_begin[m + 1]; ++p) {
      const int32_t expert = job.pick_expert[p];
      if (expert < 0 || expert >= config.moe.gate.num_experts) {
        return absl::InvalidArgumentError(absl::StrFormat("pick %d names expert %d of %d", p,
                                                          expert, config.moe.gate.num_experts));
      }
      if (p > job.pick_begin[m] && job.pick_expert[p - 1] >= expert) {
        return absl::InvalidArgumentError(
            absl::StrFormat("the picks of row %d do not ascend at expert %d", m, expert));
      }
      if (weights.find(job.layer_idx, expert) == nullptr) {
        return absl::NotFoundError(
            absl::StrFormat("expert %d of layer %d is not held here", expert, job.layer_idx));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status check_job(const ExpertJob& job, const ModelConfig& config,
                       const HeldExperts& weights) {
  if (job.layer_idx < 0 || job.layer_idx >= config.num_layers ||
      !config.is_moe_layer(job.layer_idx)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("layer %d has no routed experts", job.layer_idx));
  }
  RETURN_IF_ERROR(check_csr(job));
  RETURN_IF_ERROR(check_shape(job, config));
  return check_experts(job, config, weights);
}

}  // namespace conclave
