#include "tests/model/weights/loaded_model.h"

#include <gtest/gtest.h>

#include <cstring>
#include <utility>

#include "common/check.h"
#include "model/config/read_config.h"

namespace conclave {
namespace {

void no_progress(uint64_t, uint64_t) {}

// The value at (row, col), dequantised as kernels do.
float value_at(const Weight& w, int32_t row, int32_t col) {
  const int64_t at = int64_t{row} * w.num_cols + col;
  switch (w.dtype) {
    case DType::kF32:
      return static_cast<const float*>(w.data)[at];
    case DType::kBF16:
      return to_f32(static_cast<const bf16*>(w.data)[at]);
    case DType::kF16:
      return to_f32(static_cast<const f16*>(w.data)[at]);
    case DType::kF8E4M3:
    case DType::kI8:
      break;
  }
  const int32_t scale_row = (w.first_row + row) / w.block_rows;
  const float scale = w.scale[scale_row * w.scale_cols + col / w.block_cols];
  if (w.dtype == DType::kI8) return static_cast<const int8_t*>(w.data)[at] * scale;
  return to_f32(static_cast<const f8e4m3*>(w.data)[at]) * scale;
}

}  // namespace

Model open_golden(const std::string& name) {
  auto config = read_model_config(golden_dir(name));
  auto checkpoint = Checkpoint::open(golden_dir(name));
  CHECK(config.ok() && checkpoint.ok());
  return {*std::move(config), *std::move(checkpoint)};
}

Model open_dir(const TempDir& dir, const ModelConfig& config) {
  auto checkpoint = Checkpoint::open(dir.path());
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  CHECK(checkpoint.ok());
  return {config, *std::move(checkpoint)};
}

TrunkWeights trunk_of(const Model& model) {
  auto trunk = load_trunk(*model.checkpoint, model.config, no_progress);
  EXPECT_TRUE(trunk.ok()) << trunk.status();
  CHECK(trunk.ok());
  return *std::move(trunk);
}

ExpertWeights experts_of(const Model& model, const ExpertRange& range) {
  auto experts = load_experts(*model.checkpoint, model.config,
                              *ExpertSet::shard(model.config, range), no_progress);
  EXPECT_TRUE(experts.ok()) << experts.status();
  CHECK(experts.ok());
  return *std::move(experts);
}

void expect_same(const Weight& a, const Weight& b) {
  ASSERT_EQ(a.num_rows, b.num_rows);
  ASSERT_EQ(a.num_cols, b.num_cols);
  for (int32_t row = 0; row < a.num_rows; ++row) {
    for (int32_t col = 0; col < a.num_cols; ++col) {
      ASSERT_EQ(value_at(a, row, col), value_at(b, row, col)) << row << ", " << col;
    }
  }
}

void expect_same(const FfnWeights& a, const FfnWeights& b) {
  expect_same(a.gate, b.gate);
  expect_same(a.up, b.up);
  expect_same(a.down, b.down);
}

void expect_same(const ExpertWeights& a, const ExpertWeights& b) {
  ASSERT_EQ(a.layers.size(), b.layers.size());
  for (size_t layer = 0; layer < a.layers.size(); ++layer) {
    ASSERT_EQ(a.layers[layer].size(), b.layers[layer].size());
    for (size_t e = 0; e < a.layers[layer].size(); ++e) {
      const RoutedExpert* left = a.layers[layer][e].get();
      const RoutedExpert* right = b.layers[layer][e].get();
      ASSERT_EQ(left == nullptr, right == nullptr);
      if (left != nullptr) expect_same(left->ffn, right->ffn);
    }
  }
}

void expect_same(const TrunkWeights& a, const TrunkWeights& b, const ModelConfig& config) {
  expect_same(a.embedding, b.embedding);
  expect_same(a.head, b.head);
  for (size_t i = 0; i < a.layers.size(); ++i) {
    expect_same(a.layers[i].attention.kv_a, b.layers[i].attention.kv_a);
    expect_same(a.layers[i].attention.kv_b, b.layers[i].attention.kv_b);
    expect_same(a.layers[i].attention.o, b.layers[i].attention.o);
    expect_same(a.layers[i].ffn, b.layers[i].ffn);
    EXPECT_EQ(std::memcmp(a.layers[i].input_norm, b.layers[i].input_norm,
                          sizeof(float) * static_cast<size_t>(config.hidden_dim)),
              0);
  }
}

}  // namespace conclave
