// Rotary position embedding, with YaRN's frequencies. Source: docs/models.md, arXiv 2309.00071.
//
//   pair j of a vector at position p turns by  p * frequency[j],   j = 0 .. P/2 - 1
//
// Angles are f32 products, as in transformers. The pairs of a stored vector are (x[2j], x[2j+1])
// where `interleaved`, else (x[j], x[P/2 + j]); a rotated vector keeps the layout of its input.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/rows.h"

namespace conclave {

struct RopeParams {
  int32_t num_dims = 0;  // P, even
  double theta = 10000;
  bool interleaved = true;

  // YaRN; off while factor is 0.
  double factor = 0;
  double original_max_positions = 0;
  double beta_fast = 32;
  double beta_slow = 1;
  double attention_factor = 1;  // multiplies cos and sin: g(mscale) / g(mscale_all_dim)
};

// [P / 2], computed in double and rounded once.
std::vector<float> rope_frequencies(const RopeParams& params);

// 0.1 * mscale * ln(factor) + 1, and 1 where factor <= 1: YaRN's g(mscale).
double yarn_scale(double factor, double mscale);

// Fills cos and sin, both f32 [T, P / 2], for the positions of a step. Once a step, for all layers.
struct RopeAngleArgs {
  std::span<const int32_t> positions;  // [T]
  std::span<const float> frequencies;  // [P / 2]
  float attention_factor = 1.f;
  Rows<float> cos;
  Rows<float> sin;
};
void rope_angles(const RopeAngleArgs& args);

// Turns `num_heads` vectors a token in place. Vector i of token t starts at
// x.row(t) + first_col + i * head_stride and has P = 2 * cos.num_cols numbers.
struct RopeArgs {
  Rows<float> x;
  int32_t first_col = 0;
  int32_t head_stride = 0;
  int32_t num_heads = 1;
  bool interleaved = true;
  Rows<const float> cos;  // [T, P / 2]
  Rows<const float> sin;
};
void rope(const RopeArgs& args);

}  // namespace conclave
