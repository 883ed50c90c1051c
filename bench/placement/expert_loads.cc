#include "bench/placement/expert_loads.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_format.h"

namespace conclave {
namespace {

constexpr int32_t kShareThatDrifts = 20;   // one of so many
constexpr int32_t kLayersOfOneBurst = 4;   // one of so many
constexpr int32_t kExpertsOfOneBurst = 3;  // of a layer
constexpr double kBurst = 10;

}  // namespace

ExpertLoads::ExpertLoads(const LoadSpec& spec) : spec_(spec), rng_(spec.seed) {
  std::vector<int32_t> rank(static_cast<size_t>(spec.num_experts));
  std::iota(rank.begin(), rank.end(), 1);
  for (int32_t i = 0; i < spec.num_layers; ++i) {
    std::shuffle(rank.begin(), rank.end(), rng_);
    for (const int32_t k : rank) base_.push_back(std::pow(k, -spec.exponent));
  }
  load_ = base_;
  if (spec.kind == LoadKind::kBursty) burst();
}

void ExpertLoads::advance() {
  if (spec_.kind == LoadKind::kDrifting) swap_ranks();
  load_ = base_;
  if (spec_.kind == LoadKind::kBursty) burst();
}

void ExpertLoads::swap_ranks() {
  std::vector<int32_t> experts(static_cast<size_t>(spec_.num_experts));
  std::iota(experts.begin(), experts.end(), 0);
  const int32_t num_swapped = std::max(2, spec_.num_experts / kShareThatDrifts);
  for (int32_t i = 0; i < spec_.num_layers; ++i) {
    std::shuffle(experts.begin(), experts.end(), rng_);
    for (int32_t k = 1; k < num_swapped; ++k) {
      std::swap(layer(i)[experts[k]], layer(i)[experts[k - 1]]);
    }
  }
}

void ExpertLoads::burst() {
  const auto num_experts = static_cast<uint32_t>(spec_.num_experts);
  for (int32_t i = 0; i < spec_.num_layers; ++i) {
    if (rng_() % kLayersOfOneBurst != 0) continue;
    for (int32_t k = 0; k < kExpertsOfOneBurst; ++k) {
      load_[static_cast<size_t>(i) * num_experts + rng_() % num_experts] *= kBurst;
    }
  }
}

std::string name_of(const LoadSpec& spec) {
  if (spec.kind == LoadKind::kDrifting) return "drifting";
  if (spec.kind == LoadKind::kBursty) return "bursty";
  return absl::StrFormat("zipf %.1f", spec.exponent);
}

std::vector<LoadSpec> all_load_specs() {
  return {{.kind = LoadKind::kZipf, .exponent = 0.8},
          {.kind = LoadKind::kZipf, .exponent = 1.0},
          {.kind = LoadKind::kZipf, .exponent = 1.2},
          {.kind = LoadKind::kDrifting, .exponent = 1.0},
          {.kind = LoadKind::kBursty, .exponent = 0.8}};
}

}  // namespace conclave
