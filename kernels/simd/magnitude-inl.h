// The largest magnitude of a block, for whoever gives a block a scale.
//
// Magnitudes are compared as the integers that their bits are: that order needs no care for NaN,
// which is above infinity, and any order of comparing gives the same number.

#include "kernels/simd/targets.h"

#if defined(CONCLAVE_KERNELS_SIMD_MAGNITUDE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CONCLAVE_KERNELS_SIMD_MAGNITUDE_INL_H_
#undef CONCLAVE_KERNELS_SIMD_MAGNITUDE_INL_H_
#else
#define CONCLAVE_KERNELS_SIMD_MAGNITUDE_INL_H_
#endif

#include <algorithm>
#include <bit>
#include <cstdint>

#include "hwy/highway.h"
#include "kernels/simd/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace conclave {
namespace HWY_NAMESPACE {

inline constexpr int32_t kInfinityBits = 0x7F800000;
inline constexpr int32_t kMagnitudeBits = 0x7FFFFFFF;

using TagI32 = hn::RebindToSigned<TagF32>;

// The bits of the largest |x|; at least kInfinityBits where a number is not finite.
HWY_INLINE int32_t largest_magnitude(const float* x, int64_t count) {
  const TagI32 i32;
  auto largest = hn::Zero(i32);
  const auto magnitude = hn::Set(i32, kMagnitudeBits);
  const int64_t whole = whole_vectors(count);
  for (int64_t i = 0; i < whole; i += kLanes) {
    largest = hn::Max(largest, hn::And(hn::BitCast(i32, hn::LoadU(kF32, x + i)), magnitude));
  }
  int32_t max = hn::GetLane(hn::MaxOfLanes(i32, largest));
  for (int64_t i = whole; i < count; ++i) {
    max = std::max(max, std::bit_cast<int32_t>(x[i]) & kMagnitudeBits);
  }
  return max;
}

}  // namespace HWY_NAMESPACE
}  // namespace conclave
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
