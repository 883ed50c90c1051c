// A Hugging Face checkpoint folder, mapped and validated: every tensor of every shard by name.
//
// open() reads headers only. It checks each file whole (header size and JSON, dtypes, shapes without
// overflow, offsets that are contiguous from 0 to the end of the file) and the index against the
// shards. Numbers are read through the mapping, so opening is quick and pages come in when touched.
//
// Immutable after open(), so thread-safe. Views stay valid while the Checkpoint lives.
// Source: spec/checkpoint.md §1.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
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
  std::string dtype;           // as the header spells it: F32, BF16, F8_E4M3, ...
  std::vector<int64_t> shape;
  const std::byte* data = nullptr;
  uint64_t num_bytes = 0;
  int32_t file_idx = 0;        // into Checkpoint::file_names()
};

class Checkpoint {
 public:
  static absl::StatusOr<std::unique_ptr<Checkpoint>> open(const std::string& dir);

  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;

  const std::string& dir() const { return dir_; }

  // Null when there is no such tensor.
  const StoredTensor* find(std::string_view name) const;

  // Sorted by name.
  const std::vector<StoredTensor>& tensors() const { return tensors_; }

  // The shard that holds `tensor`, for messages.
  const std::string& file_name(const StoredTensor& tensor) const;

 private:
  explicit Checkpoint(std::string dir) : dir_(std::move(dir)) {}

  absl::Status add_file(const std::string& file_name);
  absl::Status check_index();

  const std::string dir_;
  std::vector<std::string> file_names_;
  std::vector<MappedFile> files_;
  std::vector<StoredTensor> tensors_;
  absl::flat_hash_map<std::string, size_t> by_name_;
};

}  // namespace conclave
