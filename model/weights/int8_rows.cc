#include "model/weights/int8_rows.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "kernels/quantise.h"
#include "model/weights/page_in.h"
#include "model/weights/stored_numbers.h"

namespace conclave {
namespace {

constexpr int64_t kNumbersPerTask = 1 << 18;

bool convert_row(const Weight& stored, int64_t n, int8_t* codes, float* scale) {
  if (is_aligned(stored.data, stored.dtype)) return quantise_weight_row(stored, n, codes, scale);
  CHECK(!has_scales(stored.dtype));  // bytes are always aligned
  std::vector<float> aligned(static_cast<size_t>(stored.num_cols));
  widen(static_cast<const std::byte*>(stored.row(n)), stored.dtype, aligned.size(), aligned.data());
  return quantise_row(aligned.data(), stored.num_cols, codes, scale);
}

}  // namespace

absl::Status convert_rows(const Checkpoint& checkpoint, const StoredMatrix& stored,
                          const RowRange& rows, int8_t* codes, float* scale, Executor* executor) {
  const Weight part = stored.weight.rows(rows.first, rows.count);
  if (part.num_bytes() == 0) return absl::OkStatus();
  const MappedRange range{.data = static_cast<const std::byte*>(part.data),
                          .num_bytes = part.num_bytes(),
                          .tensor = stored.tensor};
  RETURN_IF_ERROR(page_in(checkpoint, range));
  const int64_t num_cols = part.num_cols;
  const int64_t num_blocks = num_int8_blocks(part.num_cols);
  const int64_t task_rows = std::max<int64_t>(1, kNumbersPerTask / num_cols);
  std::atomic<bool> finite = true;
  executor->parallel_for((rows.count + task_rows - 1) / task_rows, [&](int64_t i) {
    const int64_t end = std::min<int64_t>(rows.count, (i + 1) * task_rows);
    for (int64_t n = i * task_rows; n < end; ++n) {
      if (!convert_row(part, n, codes + n * num_cols, scale + n * num_blocks)) finite = false;
    }
  });
  page_out(range);
  if (finite) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(checkpoint.where(*stored.tensor), " holds NaN or infinity"));
}

}  // namespace conclave
