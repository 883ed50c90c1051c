// out[t, :] = table[ids[t], :] in f32, exactly as stored: f32, f16 or bf16 (embeddings are never
// fp8).
//
// REQUIRES: 0 <= ids[t] < table.num_rows. Thread-safe: no state.
#pragma once

#include <cstdint>
#include <span>

#include "common/rows.h"
#include "kernels/weight.h"

namespace conclave {

void embed_rows(const Weight& table, std::span<const int32_t> ids, Rows<float> out);

}  // namespace conclave
