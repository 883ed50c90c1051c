// fp8 takes one pass for the largest magnitude of a block and one that divides, both from the L1
// cache.

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "common/check.h"
#include "kernels/row_codec.h"
#include "kernels/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/row_codec_cpu.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/simd/magnitude-inl.h"
#include "kernels/simd/stored_rows-inl.h"
#include "kernels/simd/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace conclave {
namespace HWY_NAMESPACE {

// As to_bf16(): the carry of the added half goes up into what is kept, and NaN is only made quiet.
HWY_INLINE hn::Vec<TagU16> round_to_bf16(VecF32 v) {
  const TagU32 u32;
  const auto bits = hn::BitCast(u32, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(u32, 1));
  const auto rounded = hn::Add(bits, hn::Add(hn::Set(u32, 0x7FFF), odd));
  const auto quiet = hn::Or(bits, hn::Set(u32, 0x400000));
  const auto is_nan = hn::RebindMask(u32, hn::IsNaN(v));
  const auto high = hn::ShiftRight<16>(hn::IfThenElse(is_nan, quiet, rounded));
  return hn::TruncateTo(TagU16(), high);
}

// The packed bytes have no alignment; only whole vectors are written through their type.
void PackBf16(const float* from, int64_t n, std::byte* to) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    uint16_t bits[kLanes];
    hn::StoreU(round_to_bf16(hn::LoadU(kF32, from + i)), TagU16(), bits);
    std::memcpy(to + i * 2, bits, sizeof(bits));
  }
  for (; i < n; ++i) {
    const bf16 value = to_bf16(from[i]);
    std::memcpy(to + i * 2, &value, sizeof(value));
  }
}

void UnpackBf16(const std::byte* from, int64_t n, float* to) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    bf16 bits[kLanes];
    std::memcpy(bits, from + i * 2, sizeof(bits));
    hn::StoreU(load_stored(bits), kF32, to + i);
  }
  for (; i < n; ++i) {
    bf16 value;
    std::memcpy(&value, from + i * 2, sizeof(value));
    to[i] = to_f32(value);
  }
}

using TagU8 = hn::Rebind<uint8_t, TagF32>;

// The codes of numbers that are finite. Where E4M3 is normal, the bits of f32 are cut to three of
// the mantissa, with the carry of the added half going up into what is kept, and the exponent gets
// the other bias. Below 2^-6 its numbers lie 2^-9 apart, as those of f32 do from 2^14 on: the sum
// rounds them.
HWY_INLINE hn::Vec<TagU8> round_to_f8(VecF32 v) {
  const TagU32 u32;
  const auto bits = hn::BitCast(u32, v);
  const auto sign = hn::And(hn::ShiftRight<24>(bits), hn::Set(u32, 0x80));
  const auto size = hn::Min(hn::Abs(v), hn::Set(kF32, kMostFp8));
  const auto size_bits = hn::BitCast(u32, size);
  const auto odd = hn::And(hn::ShiftRight<20>(size_bits), hn::Set(u32, 1));
  const auto rounded = hn::Add(size_bits, hn::Add(hn::Set(u32, 0x7FFFF), odd));
  const auto normal = hn::Sub(hn::ShiftRight<20>(rounded), hn::Set(u32, (127 - 7) << 3));
  const VecF32 coarse = hn::Set(kF32, 0x1p14f);
  const auto small = hn::Sub(hn::BitCast(u32, hn::Add(size, coarse)), hn::BitCast(u32, coarse));
  const auto is_small = hn::RebindMask(u32, hn::Lt(size, hn::Set(kF32, 0x1p-6f)));
  return hn::TruncateTo(TagU8(), hn::Or(sign, hn::IfThenElse(is_small, small, normal)));
}

// `count` codes to `codes`; the scale is what it returns.
HWY_INLINE float pack_f8_block(const float* from, int64_t count, std::byte* codes) {
  const int32_t largest = largest_magnitude(from, count);
  if (largest >= kInfinityBits) {
    std::memset(codes, 0, static_cast<size_t>(count));
    return std::numeric_limits<float>::quiet_NaN();
  }
  const float scale = std::max(std::bit_cast<float>(largest), kLeastFp8Magnitude) / kMostFp8;
  const VecF32 unit = hn::Set(kF32, scale);
  uint8_t* const to = reinterpret_cast<uint8_t*>(codes);
  const int64_t whole = whole_vectors(count);
  for (int64_t i = 0; i < whole; i += kLanes) {
    hn::StoreU(round_to_f8(hn::Div(hn::LoadU(kF32, from + i), unit)), TagU8(), to + i);
  }
  if (whole == count) return scale;
  uint8_t last[kLanes];
  const VecF32 rest = load_first(from + whole, count - whole);
  hn::StoreU(round_to_f8(hn::Div(rest, unit)), TagU8(), last);
  std::memcpy(to + whole, last, static_cast<size_t>(count - whole));
  return scale;
}

void PackF8(const float* from, int64_t n, std::byte* to) {
  std::byte* scale_to = to + n;
  for (int64_t i = 0; i < n; i += kFp8Block, scale_to += sizeof(float)) {
    const float scale = pack_f8_block(from + i, std::min<int64_t>(kFp8Block, n - i), to + i);
    std::memcpy(scale_to, &scale, sizeof(scale));
  }
}

void UnpackF8(const std::byte* from, int64_t n, float* to) {
  const auto* const codes = reinterpret_cast<const f8e4m3*>(from);
  const std::byte* scale_from = from + n;
  for (int64_t begin = 0; begin < n; begin += kFp8Block, scale_from += sizeof(float)) {
    float scale;
    std::memcpy(&scale, scale_from, sizeof(scale));
    const VecF32 unit = hn::Set(kF32, scale);
    const int64_t end = std::min<int64_t>(n, begin + kFp8Block);
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      hn::StoreU(hn::Mul(load_stored(codes + i), unit), kF32, to + i);
    }
    if (i == end) continue;
    store_first(hn::Mul(load_stored_first(codes + i, end - i), unit), to + i, end - i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace conclave
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace conclave {
namespace {

HWY_EXPORT(PackBf16);
HWY_EXPORT(PackF8);
HWY_EXPORT(UnpackBf16);
HWY_EXPORT(UnpackF8);

}  // namespace

size_t packed_row_bytes(DType dtype, int32_t num_cols) {
  CHECK(is_row_type(dtype));
  CHECK(num_cols >= 0);
  const size_t number_bytes =
      static_cast<size_t>(num_cols) * static_cast<size_t>(dtype_bytes(dtype));
  if (dtype != DType::kF8E4M3) return number_bytes;
  return number_bytes + (static_cast<size_t>(num_cols) + kFp8Block - 1) / kFp8Block * sizeof(float);
}

void pack_rows(Rows<const float> rows, DType dtype, std::byte* packed) {
  const size_t row_bytes = packed_row_bytes(dtype, rows.num_cols);
  if (row_bytes == 0) return;
  for (int64_t t = 0; t < rows.num_rows; ++t) {
    std::byte* const to = packed + static_cast<size_t>(t) * row_bytes;
    if (dtype == DType::kF32) {
      std::memcpy(to, rows.row(t), row_bytes);
    } else if (dtype == DType::kBF16) {
      HWY_DYNAMIC_DISPATCH(PackBf16)(rows.row(t), rows.num_cols, to);
    } else {
      HWY_DYNAMIC_DISPATCH(PackF8)(rows.row(t), rows.num_cols, to);
    }
  }
}

void unpack_rows(const std::byte* packed, DType dtype, Rows<float> rows) {
  const size_t row_bytes = packed_row_bytes(dtype, rows.num_cols);
  if (row_bytes == 0) return;
  for (int64_t t = 0; t < rows.num_rows; ++t) {
    const std::byte* const from = packed + static_cast<size_t>(t) * row_bytes;
    if (dtype == DType::kF32) {
      std::memcpy(rows.row(t), from, row_bytes);
    } else if (dtype == DType::kBF16) {
      HWY_DYNAMIC_DISPATCH(UnpackBf16)(from, rows.num_cols, rows.row(t));
    } else {
      HWY_DYNAMIC_DISPATCH(UnpackF8)(from, rows.num_cols, rows.row(t));
    }
  }
}

}  // namespace conclave
#endif  // HWY_ONCE
