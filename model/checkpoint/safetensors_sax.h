// The JSON of a safetensors header as the list of what it says, unchecked but for its form: read
// event by event, so that a hostile header cannot make us build anything but tensor entries.
#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/safetensors_header.h"

namespace conclave {

// Shapes come out non-negative, offsets as written. Unknown fields are errors.
absl::StatusOr<std::vector<TensorEntry>> read_tensor_entries(std::string_view text,
                                                             std::string_view where);

}  // namespace conclave
