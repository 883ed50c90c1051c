// Every product and sum is rounded by itself, in lanes and in the tail alike, so that a pair's bits
// do not depend on where in a vector it lies.

#include <cmath>

#include "common/check.h"
#include "kernels/rope.h"
#include "kernels/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rope_cpu.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/simd/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace conclave {
namespace HWY_NAMESPACE {

// (a, b) becomes (a cos - b sin, a sin + b cos).
HWY_INLINE void turn(VecF32& a, VecF32& b, VecF32 cos, VecF32 sin) {
  const VecF32 turned = hn::Sub(hn::Mul(a, cos), hn::Mul(b, sin));
  b = hn::Add(hn::Mul(a, sin), hn::Mul(b, cos));
  a = turned;
}

HWY_INLINE void turn(float& a, float& b, float cos, float sin) {
  const float turned = a * cos - b * sin;
  b = a * sin + b * cos;
  a = turned;
}

void TurnInterleaved(float* x, const float* cos, const float* sin, int64_t num_pairs) {
  int64_t j = 0;
  for (; j + kLanes <= num_pairs; j += kLanes) {
    VecF32 a, b;
    hn::LoadInterleaved2(kF32, x + 2 * j, a, b);
    turn(a, b, hn::LoadU(kF32, cos + j), hn::LoadU(kF32, sin + j));
    hn::StoreInterleaved2(a, b, kF32, x + 2 * j);
  }
  for (; j < num_pairs; ++j) turn(x[2 * j], x[2 * j + 1], cos[j], sin[j]);
}

void TurnHalves(float* x, const float* cos, const float* sin, int64_t num_pairs) {
  int64_t j = 0;
  for (; j + kLanes <= num_pairs; j += kLanes) {
    VecF32 a = hn::LoadU(kF32, x + j);
    VecF32 b = hn::LoadU(kF32, x + num_pairs + j);
    turn(a, b, hn::LoadU(kF32, cos + j), hn::LoadU(kF32, sin + j));
    hn::StoreU(a, kF32, x + j);
    hn::StoreU(b, kF32, x + num_pairs + j);
  }
  for (; j < num_pairs; ++j) turn(x[j], x[num_pairs + j], cos[j], sin[j]);
}

void Rope(const RopeArgs& args) {
  const auto turn_vector = args.interleaved ? TurnInterleaved : TurnHalves;
  for (int64_t t = 0; t < args.x.num_rows; ++t) {
    for (int64_t i = 0; i < args.num_heads; ++i) {
      float* const vector = args.x.row(t) + args.first_col + i * args.head_stride;
      turn_vector(vector, args.cos.row(t), args.sin.row(t), args.cos.num_cols);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace conclave
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace conclave {

HWY_EXPORT(Rope);

void rope(const RopeArgs& args) {
  CHECK(args.cos.num_rows == args.x.num_rows);
  CHECK(args.sin.num_rows == args.x.num_rows);
  CHECK(args.sin.num_cols == args.cos.num_cols);
  CHECK(args.first_col >= 0);
  CHECK(args.num_heads >= 0);
  if (args.num_heads == 0) return;
  const int64_t last_head = int64_t{args.num_heads - 1} * args.head_stride;
  CHECK(last_head >= 0);
  CHECK(args.first_col + last_head + 2 * int64_t{args.cos.num_cols} <= args.x.num_cols);
  HWY_DYNAMIC_DISPATCH(Rope)(args);
}

void rope_angles(const RopeAngleArgs& args) {
  const int32_t num_tokens = static_cast<int32_t>(args.positions.size());
  const int32_t num_pairs = static_cast<int32_t>(args.frequencies.size());
  CHECK(args.cos.num_rows == num_tokens && args.cos.num_cols == num_pairs);
  CHECK(args.sin.num_rows == num_tokens && args.sin.num_cols == num_pairs);
  for (int32_t t = 0; t < num_tokens; ++t) {
    const float position = static_cast<float>(args.positions[static_cast<size_t>(t)]);
    for (int32_t j = 0; j < num_pairs; ++j) {
      const float angle = position * args.frequencies[static_cast<size_t>(j)];
      args.cos.row(t)[j] = std::cos(angle) * args.attention_factor;
      args.sin.row(t)[j] = std::sin(angle) * args.attention_factor;
    }
  }
}

}  // namespace conclave
#endif  // HWY_ONCE
