#include <cmath>
#include <limits>

#include "kernels/simd/targets.h"
#include "kernels/softmax.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/softmax_cpu.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/simd/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace conclave {
namespace HWY_NAMESPACE {

using TagF64 = hn::ScalableTag<double>;
using VecF64 = hn::Vec<TagF64>;
using TagHalfF32 = hn::Rebind<float, TagF64>;  // as many floats as a vector holds doubles
constexpr int64_t kLanesF64 = kLanes / 2;

// x[i] becomes exp(x[i] - max); returns their sum.
HWY_INLINE float exp_in_place(float* x, int64_t n, float max) {
  const VecF32 shift = hn::Set(kF32, max);
  VecF32 sum = hn::Zero(kF32);
  const int64_t whole = whole_vectors(n);
  for (int64_t i = 0; i < whole; i += kLanes) {
    const VecF32 e = exp_of(hn::Sub(hn::LoadU(kF32, x + i), shift));
    hn::StoreU(e, kF32, x + i);
    sum = hn::Add(sum, e);
  }
  if (whole < n) {
    const auto mask = hn::FirstN(kF32, static_cast<size_t>(n - whole));
    const VecF32 e = exp_of(hn::Sub(load_first(x + whole, n - whole), shift));
    store_first(e, x + whole, n - whole);
    sum = hn::Add(sum, hn::IfThenElseZero(mask, e));
  }
  return sum_of_lanes(sum);
}

void SoftmaxRows(Rows<float> x) {
  for (int64_t t = 0; t < x.num_rows; ++t) {
    float* const row = x.row(t);
    const float sum = exp_in_place(row, x.num_cols, max_of(row, x.num_cols));
    for (int64_t i = 0; i < x.num_cols; ++i) row[i] /= sum;
  }
}

HWY_INLINE VecF32 sigmoid(VecF32 x) {
  const VecF32 one = hn::Set(kF32, 1.f);
  return hn::Div(one, hn::Add(one, exp_of(hn::Neg(x))));
}

void SigmoidRows(Rows<float> x) {
  const int64_t whole = whole_vectors(x.num_cols);
  for (int64_t t = 0; t < x.num_rows; ++t) {
    float* const row = x.row(t);
    for (int64_t i = 0; i < whole; i += kLanes) {
      hn::StoreU(sigmoid(hn::LoadU(kF32, row + i)), kF32, row + i);
    }
    const int64_t rest = x.num_cols - whole;
    if (rest > 0) store_first(sigmoid(load_first(row + whole, rest)), row + whole, rest);
  }
}

// sum of exp(x[i] - max) in double: kLanesF64 chains, then what is left over, one by one.
double SumExp(const float* x, int64_t n, double max) {
  const TagF64 d;
  const VecF64 shift = hn::Set(d, max);
  VecF64 sum = hn::Zero(d);
  int64_t i = 0;
  for (; i + kLanesF64 <= n; i += kLanesF64) {
    const VecF64 v = hn::PromoteTo(d, hn::LoadU(TagHalfF32(), x + i));
    sum = hn::Add(sum, exp_of(d, hn::Sub(v, shift)));
  }
  double total = sum_of_lanes(d, sum);
  for (; i < n; ++i) total += std::exp(x[i] - max);
  return total;
}

float MaxOf(const float* x, int64_t n) { return max_of(x, n); }

}  // namespace HWY_NAMESPACE
}  // namespace conclave
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace conclave {

HWY_EXPORT(SoftmaxRows);
HWY_EXPORT(SigmoidRows);
HWY_EXPORT(SumExp);
HWY_EXPORT(MaxOf);

void softmax_rows(Rows<float> x) { HWY_DYNAMIC_DISPATCH(SoftmaxRows)(x); }

void sigmoid_rows(Rows<float> x) { HWY_DYNAMIC_DISPATCH(SigmoidRows)(x); }

double log_sum_exp(std::span<const float> x) {
  const int64_t n = static_cast<int64_t>(x.size());
  const double max = HWY_DYNAMIC_DISPATCH(MaxOf)(x.data(), n);
  // An infinite maximum is the answer by itself, and inf - inf would hide it. NaN goes the long
  // way.
  if (std::isinf(max)) {
    for (const float value : x) {
      if (std::isnan(value)) return std::numeric_limits<double>::quiet_NaN();
    }
    return max;
  }
  return max + std::log(HWY_DYNAMIC_DISPATCH(SumExp)(x.data(), n, max));
}

}  // namespace conclave
#endif  // HWY_ONCE
