// The few vector helpers that all kernels share. Compiled once per target (see Highway's foreach).
//
// Every helper has one fixed order of operations for a given number of lanes: this is where a
// kernel's sums get their order from.

#include "kernels/simd/targets.h"

#if defined(CONCLAVE_KERNELS_SIMD_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CONCLAVE_KERNELS_SIMD_VECTOR_INL_H_
#undef CONCLAVE_KERNELS_SIMD_VECTOR_INL_H_
#else
#define CONCLAVE_KERNELS_SIMD_VECTOR_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <limits>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace conclave {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using TagF32 = hn::ScalableTag<float>;
using VecF32 = hn::Vec<TagF32>;

inline constexpr TagF32 kF32;
inline constexpr int32_t kLanes = static_cast<int32_t>(hn::MaxLanes(TagF32()));

// Numbers in [0, n) that fill whole vectors.
HWY_INLINE int64_t whole_vectors(int64_t n) { return n / kLanes * kLanes; }

// The first `count` < kLanes numbers, zeros above. Touches no memory beyond them.
HWY_INLINE VecF32 load_first(const float* from, int64_t count) {
  return hn::MaskedLoad(hn::FirstN(kF32, static_cast<size_t>(count)), kF32, from);
}

HWY_INLINE void store_first(VecF32 v, float* to, int64_t count) {
  hn::BlendedStore(v, hn::FirstN(kF32, static_cast<size_t>(count)), kF32, to);
}

// Halves are folded onto each other until one lane is left. Highway's own reduction is not used: on
// AVX-512 its order is the compiler's affair.
template <class D>
HWY_INLINE hn::TFromD<D> sum_of_lanes(D /*tag*/, hn::Vec<D> v) {
  if constexpr (sizeof(hn::TFromD<D>) * hn::MaxLanes(D()) > 16) {
    const hn::Half<D> half;
    return sum_of_lanes(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  } else if constexpr (sizeof(hn::TFromD<D>) == 8) {
    return hn::GetLane(hn::Add(v, hn::Shuffle01(v)));
  } else {
    v = hn::Add(v, hn::Shuffle1032(v));
    return hn::GetLane(hn::Add(v, hn::Shuffle2301(v)));
  }
}

HWY_INLINE float sum_of_lanes(VecF32 v) { return sum_of_lanes(kF32, v); }

// The largest of x[0, n), which must not be empty. Any order gives the same number.
HWY_INLINE float max_of(const float* x, int64_t n) {
  VecF32 largest = hn::Set(kF32, -std::numeric_limits<float>::infinity());
  const int64_t whole = whole_vectors(n);
  for (int64_t i = 0; i < whole; i += kLanes) largest = hn::Max(largest, hn::LoadU(kF32, x + i));
  float max = hn::GetLane(hn::MaxOfLanes(kF32, largest));
  for (int64_t i = whole; i < n; ++i) max = x[i] > max ? x[i] : max;
  return max;
}

// e^x with the ends that Highway leaves open: infinity above the range of T, NaN for NaN. Below the
// range it is 0.
template <class D>
HWY_INLINE hn::Vec<D> exp_of(D d, hn::Vec<D> x) {
  using T = hn::TFromD<D>;
  const auto top = hn::Set(d, sizeof(T) == 4 ? static_cast<T>(89) : static_cast<T>(710));
  const auto infinity = hn::Set(d, std::numeric_limits<T>::infinity());
  const auto y = hn::IfThenElse(hn::Gt(x, top), infinity, hn::Exp(d, hn::Min(x, top)));
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

HWY_INLINE VecF32 exp_of(VecF32 x) { return exp_of(kF32, x); }

}  // namespace HWY_NAMESPACE
}  // namespace conclave
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
