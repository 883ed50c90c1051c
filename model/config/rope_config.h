// Rotary embedding in its published spellings. Source: docs/models.md, arXiv 2309.00071.
//
//     "rope_theta": 1e4, "rope_scaling": null | {"type" or "rope_type": "yarn", ...}
//     "rope_parameters": {"rope_type": "default" | "yarn", "rope_theta": 1e4, ...}
#pragma once

#include "absl/status/statusor.h"
#include "kernels/rope.h"
#include "model/config/json_reader.h"

namespace conclave {

struct RopeConfig {
  RopeParams params;          // num_dims and interleaved are the caller's
  double softmax_factor = 1;  // YaRN's m * m; 1 without
};

absl::StatusOr<RopeConfig> read_rope(const JsonReader& json);

}  // namespace conclave
