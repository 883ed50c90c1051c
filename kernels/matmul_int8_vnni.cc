// int8 products with AVX-512 VNNI, which multiplies unsigned with signed bytes and adds fours of
// them to 32 bits, without saturation. w + 128 is the unsigned factor; what that adds is 128 times
// the sum of x's codes, which is known and taken off again: exact integers all the way.

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the undefined operand inside its own intrinsics for a mistake.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#include <immintrin.h>

#include <cstring>

#include "hwy/base.h"
#include "kernels/matmul_int8.h"
#include "kernels/quantise.h"

HWY_PUSH_ATTRIBUTES("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
namespace conclave {
namespace {

constexpr int kStepBytes = 64;
constexpr int kTileRows = 4;

using Codes = __m512i;
using Sums = __m512i;
using Factor = __m512i;

HWY_INLINE Codes load_codes(const int8_t* from) { return _mm512_loadu_si512(from); }

HWY_INLINE Factor make_factor(Codes codes) {
  return _mm512_xor_si512(codes, _mm512_set1_epi8(static_cast<char>(-128)));
}

HWY_INLINE Sums no_sums() { return _mm512_setzero_si512(); }

HWY_INLINE Sums add_products(Sums sums, Factor w, Codes x) {
  return _mm512_dpbusd_epi32(sums, w, x);
}

HWY_INLINE __m512i add_two(__m512i a, __m512i b) {
  return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
}

HWY_INLINE __m128i sums_of_four(const Sums (&sums)[4], int32_t x_sum) {
  const __m512i ab = add_two(sums[0], sums[1]);
  const __m512i cd = add_two(sums[2], sums[3]);
  const __m512i abcd =
      _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  const __m256i half =
      _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti64x4_epi64(abcd, 1));
  const __m128i dots =
      _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  return _mm_sub_epi32(dots, _mm_set1_epi32(128 * x_sum));
}

}  // namespace
}  // namespace conclave

#include "kernels/simd/int8_columns-inl.h"

namespace conclave {

void int8_columns_vnni(const Int8Product& product, int64_t begin, int64_t end) {
  int8_columns(product, begin, end);
}

}  // namespace conclave
HWY_POP_ATTRIBUTES
