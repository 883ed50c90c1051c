#include "router/gate.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/checked_math.h"
#include "common/status_macros.h"
#include "kernels/matmul.h"
#include "kernels/vector_ops.h"

namespace conclave {
namespace {

// Rows a task takes: enough work to be worth handing out, little enough to share a prefill chunk.
constexpr int32_t kRowsPerTask = 32;

}  // namespace

absl::StatusOr<std::unique_ptr<Gate>> Gate::create(const GateConfig& config,
                                                   const GateWeights& weights, int32_t max_tokens,
                                                   Executor* executor) {
  CHECK(max_tokens > 0);
  CHECK(executor != nullptr);
  CHECK(weights.weight.data != nullptr);
  if (weights.weight.num_rows != config.num_experts) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the gate's weight has %d rows for %d experts", weights.weight.num_rows,
                        config.num_experts));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<GateRule> rule, make_gate_rule(config, weights.bias));
  return std::unique_ptr<Gate>(new Gate(config, weights, max_tokens, std::move(rule), executor));
}

Gate::Gate(const GateConfig& config, const GateWeights& weights, int32_t max_tokens,
           std::unique_ptr<GateRule> rule, Executor* executor)
    : config_(config),
      weights_(weights),
      rule_(std::move(rule)),
      executor_(executor),
      scores_(max_tokens, config.num_experts) {}

void Gate::choose(Rows<const float> x, TopK* top_k) {
  CHECK(x.num_rows <= scores_.num_rows());
  CHECK(x.num_cols == weights_.weight.num_cols);
  top_k->num_tokens = x.num_rows;
  top_k->k = config_.experts_per_token;
  const size_t num_picks = static_cast<size_t>(top_k->num_tokens) * static_cast<size_t>(top_k->k);
  top_k->expert.resize(num_picks);
  top_k->weight.resize(num_picks);
  top_k->num_faulty = 0;
  if (x.num_rows == 0) return;

  const Rows<float> scores = scores_.first_rows(x.num_rows);
  matmul({.x = x, .w = weights_.weight, .out = scores}, executor_);
  executor_->parallel_for(ceil_div(x.num_rows, kRowsPerTask), [&](int64_t task) {
    const int32_t first = static_cast<int32_t>(task) * kRowsPerTask;
    const int32_t last = std::min(first + kRowsPerTask, x.num_rows);
    for (int32_t t = first; t < last; ++t) choose_row(scores.rows(t, 1), t, top_k);
  });
  for (int32_t t = 0; t < x.num_rows; ++t) {
    const int32_t first_pick =
        top_k->expert[static_cast<size_t>(t) * static_cast<size_t>(top_k->k)];
    top_k->num_faulty += first_pick == kNoExpert ? 1 : 0;
  }
}

// Touches the picks of row t alone, so rows can be chosen at the same time.
void Gate::choose_row(Rows<float> logits, int32_t t, TopK* top_k) const {
  const int64_t first_pick = static_cast<int64_t>(t) * top_k->k;
  int32_t* expert = top_k->expert.data() + first_pick;
  float* weight = top_k->weight.data() + first_pick;
  const auto num_experts = static_cast<size_t>(logits.num_cols);
  if (!all_finite(std::span<const float>(logits.data, num_experts))) {
    std::fill_n(expert, top_k->k, kNoExpert);
    std::fill_n(weight, top_k->k, 0.f);
    return;
  }
  rule_->score(logits);
  rule_->choose(logits.data, expert, weight);
}

}  // namespace conclave
