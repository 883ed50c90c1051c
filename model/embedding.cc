#include "model/embedding.h"

#include "common/check.h"
#include "common/dtype.h"

namespace conclave {
namespace {

template <typename Stored>
void widen_row(const void* row, int32_t num_cols, float* out) {
  const auto* const stored = static_cast<const Stored*>(row);
  for (int32_t k = 0; k < num_cols; ++k) out[k] = to_f32(stored[k]);
}

}  // namespace

void embed_rows(const Weight& table, std::span<const int32_t> ids, Rows<float> out) {
  CHECK(!has_scales(table.dtype));
  CHECK(out.num_rows == static_cast<int32_t>(ids.size()));
  CHECK(out.num_cols == table.num_cols);
  for (size_t t = 0; t < ids.size(); ++t) {
    CHECK(ids[t] >= 0 && ids[t] < table.num_rows);
    const void* const row = table.row(ids[t]);
    float* const to = out.row(static_cast<int64_t>(t));
    if (table.dtype == DType::kF32) widen_row<float>(row, table.num_cols, to);
    if (table.dtype == DType::kF16) widen_row<f16>(row, table.num_cols, to);
    if (table.dtype == DType::kBF16) widen_row<bf16>(row, table.num_cols, to);
  }
}

}  // namespace conclave
