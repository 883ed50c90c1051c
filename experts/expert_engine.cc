#include "experts/expert_engine.h"

#include <algorithm>
#include <tuple>

#include "common/check.h"
#include "kernels/row_codec.h"
#include "model/ffn.h"

namespace conclave {

ExpertEngine::ExpertEngine(const ModelConfig& config, const HeldExperts* weights,
                           Executor* executor, int32_t max_group_rows)
    : hidden_dim_(config.hidden_dim),
      weights_(weights),
      executor_(executor),
      x_(max_group_rows, config.hidden_dim),
      gate_(max_group_rows, config.moe.expert_dim),
      up_(max_group_rows, config.moe.expert_dim),
      out_(max_group_rows, config.hidden_dim) {
  CHECK(max_group_rows >= 1);
}

uint64_t ExpertEngine::scratch_bytes(const ModelConfig& config, int32_t max_group_rows) {
  const int64_t cols = 2 * (int64_t{config.hidden_dim} + config.moe.expert_dim);
  return static_cast<uint64_t>(cols) * static_cast<uint64_t>(max_group_rows) * sizeof(float);
}

std::vector<SharedBytes> ExpertEngine::run(int32_t layer_idx, std::span<const ExpertJob> jobs) {
  std::vector<SharedBytes> said(jobs.size());
  for (size_t j = 0; j < jobs.size(); ++j) {
    CHECK(jobs[j].layer_idx == layer_idx);
    said[j] = SharedBytes::of_size(static_cast<size_t>(jobs[j].num_picks()) *
                                   packed_row_bytes(jobs[j].reply_type, hidden_dim_));
  }

  const std::vector<PickPlace> picks = picks_by_expert(jobs);
  const size_t max_rows = static_cast<size_t>(x_.num_rows());
  for (size_t first = 0; first < picks.size();) {
    size_t last = first;
    while (last < picks.size() && last - first < max_rows &&
           picks[last].expert == picks[first].expert) {
      ++last;
    }
    const FfnWeights* const expert = weights_->find(layer_idx, picks[first].expert);
    CHECK(expert != nullptr);
    run_group(*expert, std::span(picks).subspan(first, last - first), jobs, &said);
    first = last;
  }
  return said;
}

std::vector<ExpertEngine::PickPlace> ExpertEngine::picks_by_expert(
    std::span<const ExpertJob> jobs) {
  std::vector<PickPlace> picks;
  for (int32_t j = 0; j < static_cast<int32_t>(jobs.size()); ++j) {
    for (int32_t m = 0; m < jobs[j].num_rows(); ++m) {
      for (int32_t p = jobs[j].pick_begin[m]; p < jobs[j].pick_begin[m + 1]; ++p) {
        picks.push_back({jobs[j].pick_expert[p], j, m, p});
      }
    }
  }
  std::sort(picks.begin(), picks.end(), [](const PickPlace& a, const PickPlace& b) {
    return std::tie(a.expert, a.job, a.pick) < std::tie(b.expert, b.job, b.pick);
  });
  return picks;
}

void ExpertEngine::run_group(const FfnWeights& weights, std::span<const PickPlace> group,
                             std::span<const ExpertJob> jobs, std::vector<SharedBytes>* said) {
  const int32_t num_rows = static_cast<int32_t>(group.size());
  for (int32_t i = 0; i < num_rows; ++i) {
    const ExpertJob& job = jobs[group[i].job];
    const size_t row_bytes = packed_row_bytes(job.row_type, hidden_dim_);
    unpack_rows(job.rows.data() + static_cast<size_t>(group[i].row) * row_bytes, job.row_type,
                x_.view().rows(i, 1));
  }
  ffn({.weights = &weights,
       .x = x_.first_rows(num_rows),
       .gate = gate_.first_rows(num_rows),
       .up = up_.first_rows(num_rows),
       .out = out_.first_rows(num_rows)},
      executor_);
  for (int32_t i = 0; i < num_rows; ++i) {
    const ExpertJob& job = jobs[group[i].job];
    const size_t row_bytes = packed_row_bytes(job.reply_type, hidden_dim_);
    pack_rows(out_.view().rows(i, 1), job.reply_type,
              (*said)[group[i].job].fill() + static_cast<size_t>(group[i].pick) * row_bytes);
  }
}

}  // namespace conclave
