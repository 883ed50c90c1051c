// The sum of squares runs down kLanes chains, one for each lane, folded at the end.

#include <cmath>

#include "common/check.h"
#include "kernels/rms_norm.h"
#include "kernels/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rms_norm_cpu.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/simd/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace conclave {
namespace HWY_NAMESPACE {

HWY_INLINE float sum_of_squares(const float* x, int64_t n) {
  VecF32 sum = hn::Zero(kF32);
  const int64_t whole = whole_vectors(n);
  for (int64_t i = 0; i < whole; i += kLanes) {
    const VecF32 v = hn::LoadU(kF32, x + i);
    sum = hn::MulAdd(v, v, sum);
  }
  if (whole < n) {
    const VecF32 v = load_first(x + whole, n - whole);
    sum = hn::MulAdd(v, v, sum);
  }
  return sum_of_lanes(sum);
}

void RmsNorm(const RmsNormArgs& args) {
  const int64_t n = args.x.num_cols;
  const int64_t whole = whole_vectors(n);
  for (int64_t t = 0; t < args.x.num_rows; ++t) {
    const float* const x = args.x.row(t);
    float* const out = args.out.row(t);
    const float mean = sum_of_squares(x, n) / static_cast<float>(n);
    const VecF32 factor = hn::Set(kF32, 1.f / std::sqrt(mean + args.eps));
    for (int64_t i = 0; i < whole; i += kLanes) {
      const VecF32 unit = hn::Mul(hn::LoadU(kF32, x + i), factor);
      hn::StoreU(hn::Mul(unit, hn::LoadU(kF32, args.weight + i)), kF32, out + i);
    }
    if (whole == n) continue;
    const VecF32 unit = hn::Mul(load_first(x + whole, n - whole), factor);
    const VecF32 weight = load_first(args.weight + whole, n - whole);
    store_first(hn::Mul(unit, weight), out + whole, n - whole);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace conclave
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace conclave {

HWY_EXPORT(RmsNorm);

void rms_norm(const RmsNormArgs& args) {
  CHECK(args.out.num_rows == args.x.num_rows);
  CHECK(args.out.num_cols == args.x.num_cols);
  CHECK(args.weight != nullptr || args.x.num_cols == 0);
  HWY_DYNAMIC_DISPATCH(RmsNorm)(args);
}

}  // namespace conclave
#endif  // HWY_ONCE
