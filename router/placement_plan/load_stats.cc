#include "router/placement_plan/load_stats.h"

#include <algorithm>
#include <cmath>

#include "common/check.h"

namespace conclave {
namespace {

// What a pick is worth then is 2^kRebase of one at the base: far from overflow with any count.
constexpr double kRebase = 64;

}  // namespace

ExpertLoadStats::ExpertLoadStats(int32_t num_layers, int32_t num_experts, Options options)
    : num_layers_(num_layers), num_experts_(num_experts), options_(options) {
  CHECK(num_layers >= 0);
  CHECK(num_experts >= 0);
  CHECK(options.half_life > absl::ZeroDuration());
  counts_.resize(static_cast<size_t>(num_layers) * static_cast<size_t>(num_experts), 0.0);
}

double ExpertLoadStats::half_lives_since_base(absl::Time now) const {
  return absl::FDivDuration(std::max(now, latest_) - base_, options_.half_life);
}

// What a pick at `now` is worth in counts_.
double ExpertLoadStats::advance(absl::Time now) {
  latest_ = std::max(latest_, now);
  if (base_ == absl::InfinitePast()) base_ = latest_;
  const double age = half_lives_since_base(latest_);
  if (age <= kRebase) return std::exp2(age);
  for (double& count : counts_) count *= std::exp2(-age);
  base_ = latest_;
  return 1.0;
}

void ExpertLoadStats::add_at(size_t first, std::span<const int64_t> deltas, double worth) {
  for (size_t i = 0; i < deltas.size(); ++i) {
    if (deltas[i] > 0) counts_[first + i] += static_cast<double>(deltas[i]) * worth;
  }
}

void ExpertLoadStats::add_layer(int32_t layer_idx, std::span<const int64_t> deltas,
                                absl::Time now) {
  CHECK(layer_idx >= 0);
  CHECK(layer_idx < num_layers_);
  CHECK(deltas.size() == static_cast<size_t>(num_experts_));
  add_at(static_cast<size_t>(layer_idx) * deltas.size(), deltas, advance(now));
}

void ExpertLoadStats::add(std::span<const int64_t> deltas, absl::Time now) {
  CHECK(deltas.size() == counts_.size());
  add_at(0, deltas, advance(now));
}

std::vector<double> ExpertLoadStats::load(absl::Time now) const {
  std::vector<double> faded(counts_.size(), 0.0);
  if (base_ == absl::InfinitePast()) return faded;
  const double factor = std::exp2(-half_lives_since_base(now));
  for (size_t i = 0; i < counts_.size(); ++i) faded[i] = counts_[i] * factor;
  return faded;
}

}  // namespace conclave
