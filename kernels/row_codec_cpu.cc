#include <cstring>

#include "common/check.h"
#include "kernels/row_codec.h"
#include "kernels/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/row_codec_cpu.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
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

}  // namespace HWY_NAMESPACE
}  // namespace conclave
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace conclave {
namespace {

HWY_EXPORT(PackBf16);
HWY_EXPORT(UnpackBf16);

int64_t packed_row_bytes(int32_t num_cols, DType dtype) {
  CHECK(dtype == DType::kF32 || dtype == DType::kBF16);
  return int64_t{num_cols} * dtype_bytes(dtype);
}

}  // namespace

void pack_rows(Rows<const float> rows, DType dtype, std::byte* packed) {
  const int64_t row_bytes = packed_row_bytes(rows.num_cols, dtype);
  if (row_bytes == 0) return;
  for (int64_t t = 0; t < rows.num_rows; ++t) {
    std::byte* const to = packed + t * row_bytes;
    if (dtype == DType::kF32) {
      std::memcpy(to, rows.row(t), static_cast<size_t>(row_bytes));
    } else {
      HWY_DYNAMIC_DISPATCH(PackBf16)(rows.row(t), rows.num_cols, to);
    }
  }
}

void unpack_rows(const std::byte* packed, DType dtype, Rows<float> rows) {
  const int64_t row_bytes = packed_row_bytes(rows.num_cols, dtype);
  if (row_bytes == 0) return;
  for (int64_t t = 0; t < rows.num_rows; ++t) {
    const std::byte* const from = packed + t * row_bytes;
    if (dtype == DType::kF32) {
      std::memcpy(rows.row(t), from, static_cast<size_t>(row_bytes));
    } else {
      HWY_DYNAMIC_DISPATCH(UnpackBf16)(from, rows.num_cols, rows.row(t));
    }
  }
}

}  // namespace conclave
#endif  // HWY_ONCE
