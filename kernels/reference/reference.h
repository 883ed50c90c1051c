// The slow truth: every op as plain loops in double, readable as its definition. The same argument
// structs as the fast ops, results rounded to f32 once. Tests hold the fast ops against these
// within a tolerance; they share no code with them beyond the conversions of common/dtype.h.
//
// Thread-safe: no state. Cost: do not serve with them.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/matmul.h"
#include "kernels/paged_mla.h"
#include "kernels/quantise.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/row_codec.h"
#include "kernels/swiglu.h"
#include "kernels/weight.h"

namespace conclave::reference {

// The number that stands at (n, k), as f32: codes times their block's scale, rounded once.
float weight_at(const Weight& w, int64_t n, int64_t k);

void matmul(const MatmulArgs& args);
void matmul_t(const MatmulArgs& args);

// The int8 ones are defined to the bit, and so is the order of their f32 operations: tests hold the
// fast ops against these bit for bit. `w` of matmul_int8 is int8; a matmul() of it is the product
// with x as it is.
bool quantise_row(const float* x, int64_t num_cols, int8_t* codes, float* scale);
void matmul_int8(const MatmulArgs& args);

// A row in fp8 is defined to the bit as well. A code is found by looking at all of them.
void pack_fp8_row(const float* x, int32_t num_cols, std::byte* packed);
void unpack_fp8_row(const std::byte* packed, int32_t num_cols, float* x);

void rms_norm(const RmsNormArgs& args);
void rope(const RopeArgs& args);
void softmax_rows(Rows<float> x);
void sigmoid_rows(Rows<float> x);
double log_sum_exp(std::span<const float> x);
void swiglu(const SwigluArgs& args);
void paged_mla(const PagedMlaArgs& args);

}  // namespace conclave::reference
