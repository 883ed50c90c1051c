// Elementwise: a tail is the same arithmetic in the lanes that exist.

#include "common/check.h"
#include "kernels/simd/targets.h"
#include "kernels/swiglu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/swiglu_cpu.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/simd/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace conclave {
namespace HWY_NAMESPACE {

HWY_INLINE VecF32 silu_times(VecF32 gate, VecF32 up) {
  const VecF32 one = hn::Set(kF32, 1.f);
  return hn::Mul(hn::Div(gate, hn::Add(one, exp_of(hn::Neg(gate)))), up);
}

void Swiglu(const SwigluArgs& args) {
  const int64_t n = args.gate.num_cols;
  const int64_t whole = whole_vectors(n);
  for (int64_t t = 0; t < args.gate.num_rows; ++t) {
    const float* const gate = args.gate.row(t);
    const float* const up = args.up.row(t);
    float* const out = args.out.row(t);
    for (int64_t i = 0; i < whole; i += kLanes) {
      hn::StoreU(silu_times(hn::LoadU(kF32, gate + i), hn::LoadU(kF32, up + i)), kF32, out + i);
    }
    if (whole == n) continue;
    const int64_t rest = n - whole;
    store_first(silu_times(load_first(gate + whole, rest), load_first(up + whole, rest)),
                out + whole, rest);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace conclave
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace conclave {

HWY_EXPORT(Swiglu);

void swiglu(const SwigluArgs& args) {
  CHECK(args.up.num_rows == args.gate.num_rows);
  CHECK(args.up.num_cols == args.gate.num_cols);
  CHECK(args.out.num_rows == args.gate.num_rows);
  CHECK(args.out.num_cols == args.gate.num_cols);
  HWY_DYNAMIC_DISPATCH(Swiglu)(args);
}

}  // namespace conclave
#endif  // HWY_ONCE
