// A small model's experts with random weights, and jobs for them. Layer 0 is dense, 1 and 2 have
// experts; the shape is odd on purpose.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "common/rows.h"
#include "experts/expert_job.h"
#include "kernels/row_codec.h"
#include "model/config/model_config.h"
#include "model/weights/weights.h"

namespace conclave {

inline constexpr int32_t kNumExperts = 8;
inline constexpr int32_t kHiddenDim = 27;  // D
inline constexpr int32_t kExpertDim = 19;  // F

class RandomExperts {
 public:
  // Holds experts [0, num_held) of both layers.
  explicit RandomExperts(int32_t num_held = kNumExperts) {
    config.num_layers = 3;
    config.hidden_dim = kHiddenDim;
    config.moe.gate.num_experts = kNumExperts;
    config.moe.gate.experts_per_token = 3;
    config.moe.expert_dim = kExpertDim;
    config.moe.first_moe_layer = 1;
    ExpertSet first(3, kNumExperts);
    for (const int32_t layer : {1, 2}) {
      for (int32_t e = 0; e < num_held; ++e) first.insert(layer, e);
    }
    weights.add(*make_part(first));
  }

  // Random weights of some experts.
  std::shared_ptr<const ExpertWeights> make_part(const ExpertSet& experts) {
    auto part = std::make_shared<ExpertWeights>();
    part->layers.resize(3);
    for (int32_t layer = 0; layer < 3; ++layer) {
      part->layers[layer].resize(kNumExperts);
      for (int32_t e = 0; e < kNumExperts; ++e) {
        if (!experts.contains(layer, e)) continue;
        auto routed = std::make_shared<RoutedExpert>();
        routed->ffn = {.gate = random_weight(kExpertDim, kHiddenDim, routed.get()),
                       .up = random_weight(kExpertDim, kHiddenDim, routed.get()),
                       .down = random_weight(kHiddenDim, kExpertDim, routed.get())};
        part->layers[layer][e] = std::move(routed);
      }
    }
    return part;
  }

  ModelConfig config;
  HeldExperts weights{3, kNumExperts};

 private:
  Weight random_weight(int32_t num_rows, int32_t num_cols, RoutedExpert* routed) {
    std::normal_distribution<float> normal(0.f, 0.3f);
    auto& numbers = routed->owned.emplace_back(
        new float[static_cast<size_t>(num_rows) * static_cast<size_t>(num_cols)]);
    for (int32_t i = 0; i < num_rows * num_cols; ++i) numbers[i] = normal(rng_);
    return {.data = numbers.get(), .num_rows = num_rows, .num_cols = num_cols};
  }

  std::mt19937 rng_{17};
};

// The memory behind an ExpertJob.
struct JobMemory {
  int32_t layer_idx = 1;
  int32_t num_cols = kHiddenDim;
  std::vector<int32_t> pick_begin = {0};
  std::vector<int32_t> pick_expert;
  DType row_type = DType::kBF16;
  DType reply_type = DType::kBF16;
  std::vector<std::byte> rows;

  size_t row_bytes() const { return packed_row_bytes(row_type, kHiddenDim); }
  size_t reply_row_bytes() const { return packed_row_bytes(reply_type, kHiddenDim); }

  void add_row(const std::vector<int32_t>& experts, Rows<const float> row) {
    pick_expert.insert(pick_expert.end(), experts.begin(), experts.end());
    pick_begin.push_back(static_cast<int32_t>(pick_expert.size()));
    rows.resize(rows.size() + row_bytes());
    pack_rows(row, row_type, rows.data() + rows.size() - row_bytes());
  }

  // Row m alone, with its picks.
  JobMemory only_row(int32_t m) const {
    JobMemory one{.layer_idx = layer_idx, .row_type = row_type, .reply_type = reply_type};
    one.pick_expert.assign(pick_expert.begin() + pick_begin[m],
                           pick_expert.begin() + pick_begin[m + 1]);
    one.pick_begin.push_back(static_cast<int32_t>(one.pick_expert.size()));
    const auto first = rows.begin() + static_cast<std::ptrdiff_t>(row_bytes()) * m;
    one.rows.assign(first, first + static_cast<std::ptrdiff_t>(row_bytes()));
    return one;
  }

  ExpertJob job() const {
    return {.layer_idx = layer_idx,
            .pick_begin = pick_begin,
            .pick_expert = pick_expert,
            .row_type = row_type,
            .num_cols = num_cols,
            .rows = rows,
            .reply_type = reply_type};
  }
};

struct JobShape {
  int32_t num_rows = 1;
  uint32_t seed = 0;
  int32_t layer_idx = 1;
  DType row_type = DType::kBF16;
  DType reply_type = DType::kBF16;
};

// Every row picks one to three experts; expert 0 is picked by most of them.
inline JobMemory random_job(const JobShape& shape) {
  std::mt19937 rng(shape.seed);
  std::normal_distribution<float> normal;
  JobMemory memory{
      .layer_idx = shape.layer_idx, .row_type = shape.row_type, .reply_type = shape.reply_type};
  Matrix<float> row(1, kHiddenDim);
  for (int32_t m = 0; m < shape.num_rows; ++m) {
    for (int32_t c = 0; c < kHiddenDim; ++c) row.row(0)[c] = normal(rng);
    std::vector<int32_t> experts;
    for (int32_t e = 0; e < kNumExperts; ++e) {
      const uint32_t chance = e == 0 ? 80 : 20;
      if (experts.size() < 3 && rng() % 100 < chance) experts.push_back(e);
    }
    if (experts.empty()) experts.push_back(kNumExperts - 1);
    memory.add_row(experts, row.view());
  }
  return memory;
}

}  // namespace conclave
