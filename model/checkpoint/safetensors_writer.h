// Writes safetensors files: the result of a run, for others to read, or the shards of a checkpoint.
// All or nothing (new_file.h).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/checkpoint/new_file.h"

namespace conclave {

struct TensorHead {
  std::string name;
  std::string dtype;  // as the format spells it: F32, BF16, I8, ...
  std::vector<int64_t> shape;
};

// A file whose tensors are known and whose numbers come a piece at a time.
class SafetensorsFile {
 public:
  // INVALID_ARGUMENT for two tensors of one name, an unknown dtype, a shape that overflows.
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> create(const std::string& path,
                                                                 std::span<const TensorHead> heads);

  // Bytes [offset, offset + size) of tensor `head_idx`. Pieces come in any order, and none twice.
  absl::Status write(size_t head_idx, uint64_t offset, std::string_view bytes);

  // The last call, when every byte was written.
  absl::Status finish();

 private:
  struct Place {
    uint64_t begin = 0;  // in the file
    uint64_t num_bytes = 0;
  };

  explicit SafetensorsFile(std::unique_ptr<NewFile> file) : file_(std::move(file)) {}

  const std::unique_ptr<NewFile> file_;
  std::vector<Place> places_;  // [number of heads]
  uint64_t missing_bytes_ = 0;
};

struct TensorToWrite {
  std::string name;
  std::vector<int64_t> shape;
  std::variant<std::span<const float>, std::span<const int64_t>> values;  // F32 or I64
};

absl::Status write_safetensors(const std::string& path, std::span<const TensorToWrite> tensors);

}  // namespace conclave
