// One pass for the largest magnitude of a block and one that divides, both from the L1 cache.

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "common/check.h"
#include "kernels/quantise.h"
#include "kernels/simd/targets.h"
#include "kernels/weight.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quantise_cpu.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/simd/magnitude-inl.h"
#include "kernels/simd/stored_rows-inl.h"
#include "kernels/simd/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace conclave {
namespace HWY_NAMESPACE {

using TagCode = hn::Rebind<int8_t, TagF32>;

HWY_INLINE hn::Vec<TagCode> codes_of(VecF32 x, VecF32 unit) {
  return hn::DemoteTo(TagCode(), hn::NearestInt(hn::Div(x, unit)));
}

HWY_INLINE bool quantise_block(const float* x, int64_t count, int8_t* codes, float* scale) {
  const int32_t largest = largest_magnitude(x, count);
  if (largest >= kInfinityBits) {
    *scale = std::numeric_limits<float>::quiet_NaN();
    std::memset(codes, 0, static_cast<size_t>(count));
    return false;
  }
  *scale = std::bit_cast<float>(largest) / 127.f;
  if (*scale < std::numeric_limits<float>::min()) {
    *scale = 0.f;
    std::memset(codes, 0, static_cast<size_t>(count));
    return true;
  }
  const VecF32 unit = hn::Set(kF32, *scale);
  const int64_t whole = whole_vectors(count);
  for (int64_t i = 0; i < whole; i += kLanes) {
    hn::StoreU(codes_of(hn::LoadU(kF32, x + i), unit), TagCode(), codes + i);
  }
  if (whole == count) return true;
  int8_t last[kLanes];
  hn::StoreU(codes_of(load_first(x + whole, count - whole), unit), TagCode(), last);
  std::memcpy(codes + whole, last, static_cast<size_t>(count - whole));
  return true;
}

bool QuantiseRow(const float* x, int64_t num_cols, int8_t* codes, float* scale) {
  bool finite = true;
  for (int64_t k = 0; k < num_cols; k += kInt8Block) {
    const int64_t count = std::min<int64_t>(kInt8Block, num_cols - k);
    if (!quantise_block(x + k, count, codes + k, scale + k / kInt8Block)) finite = false;
  }
  return finite;
}

bool QuantiseWeightRow(const Weight& w, int64_t n, int8_t* codes, float* scale) {
  bool finite = true;
  HWY_ALIGN_MAX float block[kInt8Block];
  for (int64_t k = 0; k < w.num_cols; k += kInt8Block) {
    const int64_t count = std::min<int64_t>(kInt8Block, w.num_cols - k);
    decode_weight_row(w, n, k, count, block);
    if (!quantise_block(block, count, codes + k, scale + k / kInt8Block)) finite = false;
  }
  return finite;
}

}  // namespace HWY_NAMESPACE
}  // namespace conclave
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace conclave {
namespace {

HWY_EXPORT(QuantiseRow);
HWY_EXPORT(QuantiseWeightRow);

}  // namespace

bool quantise_row(const float* x, int64_t num_cols, int8_t* codes, float* scale) {
  return HWY_DYNAMIC_DISPATCH(QuantiseRow)(x, num_cols, codes, scale);
}

bool quantise_weight_row(const Weight& w, int64_t n, int8_t* codes, float* scale) {
  check_weight(w);
  CHECK(w.dtype != DType::kI8);
  CHECK(n >= 0 && n < w.num_rows);
  return HWY_DYNAMIC_DISPATCH(QuantiseWeightRow)(w, n, codes, scale);
}

}  // namespace conclave
#endif  // HWY_ONCE
