#include "router/transport.h"

#include "absl/strings/str_format.h"

namespace conclave {

absl::Status check_answer(const RowsKind& said, const RowsKind& asked) {
  if (said == asked) return absl::OkStatus();
  return absl::InternalError(absl::StrFormat("an answer of %s, %d columns; asked for %s, %d",
                                             dtype_name(said.dtype), said.num_cols,
                                             dtype_name(asked.dtype), asked.num_cols));
}

}  // namespace conclave
