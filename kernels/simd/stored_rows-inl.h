// Rows of stored numbers, read as f32 vectors. A kernel is a template over the kind of row and
// never asks for a number format inside a loop.
//
//   row.enter(k)          before reading at k, and again wherever row.block_end() says
//   row.load(k)           kLanes numbers from k on
//   row.load_first(k, n)  n < kLanes numbers from k on, zeros above; touches no memory beyond them
//
// All conversions are exact, except fp8's product with its scale, which is rounded once.

#include "kernels/simd/targets.h"

#if defined(CONCLAVE_KERNELS_SIMD_STORED_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CONCLAVE_KERNELS_SIMD_STORED_ROWS_INL_H_
#undef CONCLAVE_KERNELS_SIMD_STORED_ROWS_INL_H_
#else
#define CONCLAVE_KERNELS_SIMD_STORED_ROWS_INL_H_
#endif

#include <cstdint>
#include <cstring>

#include "common/check.h"
#include "common/dtype.h"
#include "hwy/highway.h"
#include "kernels/simd/vector-inl.h"
#include "kernels/weight.h"

HWY_BEFORE_NAMESPACE();
namespace conclave {
namespace HWY_NAMESPACE {

using TagU32 = hn::RebindToUnsigned<TagF32>;
using TagU16 = hn::Rebind<uint16_t, TagF32>;
using TagI8 = hn::Rebind<int8_t, TagF32>;
using TagF16 = hn::Rebind<hwy::float16_t, TagF32>;

HWY_INLINE VecF32 load_stored(const float* from) { return hn::LoadU(kF32, from); }

HWY_INLINE VecF32 load_stored(const bf16* from) {
  const auto bits = hn::LoadU(TagU16(), reinterpret_cast<const uint16_t*>(from));
  return hn::BitCast(kF32, hn::ShiftLeft<16>(hn::PromoteTo(TagU32(), bits)));
}

HWY_INLINE VecF32 load_stored(const f16* from) {
  const auto bits = hn::LoadU(TagU16(), reinterpret_cast<const uint16_t*>(from));
  return hn::PromoteTo(kF32, hn::BitCast(TagF16(), bits));
}

// E4M3 is an f16 with fewer bits and another bias: s eeee mmm stands at s 0eeee mmm0000000, worth
// 2^-8 of what it means, subnormals included. Only NaN has to be put in.
HWY_INLINE VecF32 load_stored(const f8e4m3* from) {
  const hn::RebindToSigned<TagU16> i16;
  const auto codes = hn::LoadU(TagI8(), reinterpret_cast<const int8_t*>(from));
  const auto wide = hn::BitCast(TagU16(), hn::PromoteTo(i16, codes));  // the sign in all high bits
  const auto value = hn::And(hn::ShiftLeft<7>(wide), hn::Set(TagU16(), 0xBFFF));
  const auto magnitude = hn::Set(TagU16(), 0x3F80);
  const auto nan = hn::VecFromMask(TagU16(), hn::Eq(hn::And(value, magnitude), magnitude));
  const auto half = hn::BitCast(TagF16(), hn::Or(value, nan));
  return hn::Mul(hn::PromoteTo(kF32, half), hn::Set(kF32, 256.f));
}

// Loads through a padded copy: rows end where the mapped file may end.
template <class Stored>
HWY_INLINE VecF32 load_stored_first(const Stored* from, int64_t count) {
  Stored padded[kLanes] = {};
  std::memcpy(padded, from, static_cast<size_t>(count) * sizeof(Stored));
  return load_stored(padded);
}

HWY_INLINE VecF32 load_stored_first(const float* from, int64_t count) {
  return load_first(from, count);
}

// A row of f32, bf16 or f16.
template <class Stored>
struct PlainRow {
  const Stored* data;

  static int64_t block_end(int64_t) { return INT64_MAX; }
  HWY_INLINE void enter(int64_t) {}
  HWY_INLINE VecF32 load(int64_t k) const { return load_stored(data + k); }
  HWY_INLINE VecF32 load_first(int64_t k, int64_t count) const {
    return load_stored_first(data + k, count);
  }
};

// A row of fp8 whose scale blocks are whole vectors wide.
struct ScaledRow {
  const f8e4m3* data;
  const float* scale;  // of this row's blocks
  int32_t block_cols;
  VecF32 block_scale;

  int64_t block_end(int64_t k) const { return (k / block_cols + 1) * block_cols; }
  HWY_INLINE void enter(int64_t k) { block_scale = hn::Set(kF32, scale[k / block_cols]); }
  HWY_INLINE VecF32 load(int64_t k) const { return hn::Mul(load_stored(data + k), block_scale); }
  HWY_INLINE VecF32 load_first(int64_t k, int64_t count) const {
    return hn::Mul(load_stored_first(data + k, count), block_scale);
  }
};

// Where the rows of a matrix are: rows.row(n).
template <class Stored>
struct PlainRows {
  using Row = PlainRow<Stored>;
  const Stored* data;
  int64_t stride;

  HWY_INLINE Row row(int64_t n) const { return {data + n * stride}; }
};

struct ScaledRows {
  using Row = ScaledRow;
  const Weight* w;

  HWY_INLINE Row row(int64_t n) const {
    const int64_t block_row = (w->first_row + n) / w->block_rows;
    return {static_cast<const f8e4m3*>(w->data) + n * w->num_cols,
            w->scale + block_row * w->scale_cols, w->block_cols, hn::Zero(kF32)};
  }
};

template <class Stored>
HWY_INLINE PlainRows<Stored> plain_rows(const Weight& w) {
  return {static_cast<const Stored*>(w.data), w.num_cols};
}

// Whether a vector ever lies in two scale blocks: such a matrix is decoded number by number.
HWY_INLINE bool blocks_are_vectors(const Weight& w) {
  return w.dtype != DType::kF8E4M3 || w.block_cols % kLanes == 0 || w.block_cols >= w.num_cols;
}

template <class Row>
HWY_INLINE void decode_row(Row row, int64_t k_begin, int64_t count, float* out) {
  for (int64_t k = 0; k < count;) {
    row.enter(k_begin + k);
    const int64_t to_block_end = row.block_end(k_begin + k) - k_begin;
    const int64_t end = to_block_end < count ? to_block_end : count;
    for (; k + kLanes <= end; k += kLanes) hn::StoreU(row.load(k_begin + k), kF32, out + k);
    if (k == end) continue;
    hn::StoreU(row.load_first(k_begin + k, end - k), kF32, out + k);
    return;  // only the matrix's last columns do not fill a vector
  }
}

HWY_INLINE void decode_scaled_row_slowly(const Weight& w, int64_t n, int64_t k_begin, int64_t count,
                                         float* out) {
  const ScaledRow row = ScaledRows{&w}.row(n);
  for (int64_t k = 0; k < count; ++k) {
    out[k] = to_f32(row.data[k_begin + k]) * row.scale[(k_begin + k) / w.block_cols];
  }
  for (int64_t k = count; k % kLanes != 0; ++k) out[k] = 0.f;
}

// Writes w[n, k_begin .. k_begin + count) as f32, and zeros up to a whole vector.
// REQUIRES: k_begin a multiple of kLanes
inline void decode_weight_row(const Weight& w, int64_t n, int64_t k_begin, int64_t count,
                              float* out) {
  switch (w.dtype) {
    case DType::kF32:
      return decode_row(plain_rows<float>(w).row(n), k_begin, count, out);
    case DType::kBF16:
      return decode_row(plain_rows<bf16>(w).row(n), k_begin, count, out);
    case DType::kF16:
      return decode_row(plain_rows<f16>(w).row(n), k_begin, count, out);
    case DType::kI8:
      CHECK(false && "int8 is not multiplied as f32");
      return;
    case DType::kF8E4M3:
      break;
  }
  if (!blocks_are_vectors(w)) return decode_scaled_row_slowly(w, n, k_begin, count, out);
  decode_row(ScaledRows{&w}.row(n), k_begin, count, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace conclave
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
