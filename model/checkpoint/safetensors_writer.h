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

// All or nothing: a file of a temporary name in the same folder becomes `path` once all of it is on
// the disk. Errors name the path.
absl::Status write_safetensors(const std::string& path, std::span<const TensorToWrite> tensors);

}  // namespace conclave
