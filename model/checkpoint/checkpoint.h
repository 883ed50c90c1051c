// A Hugging Face checkpoint folder, mapped and validated: every tensor of every shard by name.
//
// open() reads headers only. It checks each file whole (header size and JSON, dtypes, shapes
// without overflow, offsets that are contiguous from 0 to the end of the file) and the index
// against the shards. Numbers are read through the mapping, so opening is quick and pages come in
// when touched.
//
// Immutable after open(), so thread-safe. Views stay valid while the Checkpoint lives, so it
// outlives all weights that were loaded from it. The files must not be edited in place meanwhile.
// Source: docs/models.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/checkpoint/mapped_file.h"
#include "model/checkpoint/safetensors_header.h"

namespace conclave {

// One tensor where it lies.
struct StoredTensor {
  std::string name;
  std::string dtype;  // as the header spells it: F32, BF16, F8_E4M3, ...
  std::vector<int64_t> shape;
  const std::byte* data = nullptr;  // not aligned where the header's length is odd
  uint64_t num_bytes = 0;
  int32_t file_idx = 0;  // into Checkpoint::file_names()
};

class Checkpoint {
 public:
  // The shards that `dir`/model.safetensors.index.json names, else `dir`/model.safetensors.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> open(const std::string& dir);

  // One safetensors file, whatever its name.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> open_file(const std::string& path);

  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;

  const std::string& dir() const { return dir_; }

  // Null when there is no such tensor.
  const StoredTensor* find(std::string_view name) const;

  // Sorted by name.
  const std::vector<StoredTensor>& tensors() const { return tensors_; }

  const std::vector<std::string>& file_names() const { return file_names_; }

  // The shard that holds `tensor`, for messages.
  const std::string& file_name(const StoredTensor& tensor) const;

  // "<dir>/<shard>: <name>", how a message begins that is about `tensor`.
  std::string where(const StoredTensor& tensor) const;

 private:
  explicit Checkpoint(std::string dir) : dir_(std::move(dir)) {}

  absl::Status add_file(const std::string& file_name);
  absl::Status build_lookup();

  const std::string dir_;
  std::vector<std::string> file_names_;
  std::vector<MappedFile> files_;
  std::vector<StoredTensor> tensors_;
  absl::flat_hash_map<std::string, size_t> by_name_;
};

}  // namespace conclave
