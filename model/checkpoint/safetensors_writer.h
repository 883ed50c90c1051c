// Writes a small safetensors file: the result of a run, for others to read.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"

namespace conclave {

struct TensorToWrite {
  std::string name;
  std::vector<int64_t> shape;
  std::variant<std::span<const float>, std::span<const int64_t>> values;  // F32 or I64
};

// Whether `path` can be written, as far as that can be known beforehand: its folder is there and
// may be written, and `path` is a regular file or nothing. A device or a link is refused, for a
// rename would put a file in its place.
absl::Status check_can_write(const std::string& path);

// All or nothing: a file of a temporary name in the same folder becomes `path` once all of it is on
// the disk. Errors name the path.
absl::Status write_safetensors(const std::string& path, std::span<const TensorToWrite> tensors);

}  // namespace conclave
