// Rows between f32 in the engine and the format of a wire or a cache: f32 or bf16, rounded to
// nearest, ties to even. Packed: row-major without padding.
#pragma once

#include <cstddef>

#include "common/dtype.h"
#include "common/rows.h"

namespace conclave {

// Writes num_rows * num_cols numbers of `dtype` to `packed`.
void pack_rows(Rows<const float> rows, DType dtype, std::byte* packed);

// Reads them back, exactly.
void unpack_rows(const std::byte* packed, DType dtype, Rows<float> rows);

}  // namespace conclave
