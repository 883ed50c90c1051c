// int8 products with AVX2. Its one instruction for bytes multiplies unsigned with signed ones and
// adds pairs in 16 bits, which may saturate. Here w gives its magnitude and x takes w's sign: a
// pair is at most 2 * 128 * 127 = 32512, so nothing does, whatever the codes of a file are.

#include <immintrin.h>

#include <cstring>

#include "hwy/base.h"
#include "kernels/matmul_int8.h"
#include "kernels/quantise.h"

HWY_PUSH_ATTRIBUTES("avx2,fma")
namespace conclave {
namespace {

constexpr int kStepBytes = 32;
constexpr int kTileRows = 2;

using Codes = __m256i;
using Sums = __m256i;

struct Factor {
  __m256i magnitude;
  __m256i signs;
};

HWY_INLINE Codes load_codes(const int8_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

HWY_INLINE Factor make_factor(Codes codes) { return {_mm256_abs_epi8(codes), codes}; }

HWY_INLINE Sums no_sums() { return _mm256_setzero_si256(); }

HWY_INLINE Sums add_products(Sums sums, const Factor& w, Codes x) {
  const __m256i pairs = _mm256_maddubs_epi16(w.magnitude, _mm256_sign_epi8(x, w.signs));
  return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

HWY_INLINE __m256i add_two(__m256i a, __m256i b) {
  return _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
}

HWY_INLINE __m128i sums_of_four(const Sums (&sums)[4], int32_t /*x_sum*/) {
  const __m256i ab = add_two(sums[0], sums[1]);
  const __m256i cd = add_two(sums[2], sums[3]);
  const __m256i abcd =
      _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
  return _mm_add_epi32(_mm256_castsi256_si128(abcd), _mm256_extracti128_si256(abcd, 1));
}

}  // namespace
}  // namespace conclave

#include "kernels/simd/int8_columns-inl.h"

namespace conclave {

void int8_columns_avx2(const Int8Product& product, int64_t begin, int64_t end) {
  int8_columns(product, begin, end);
}

}  // namespace conclave
HWY_POP_ATTRIBUTES
