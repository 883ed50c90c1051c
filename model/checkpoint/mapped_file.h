// A file's bytes by mmap: read-only, paged in when touched. Move-only; unmaps at its end.
//
// The length is taken when the file is mapped. Whoever cuts a file while it is mapped takes the
// pages away under us (SIGBUS): checkpoints are replaced by new files, never edited in place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace conclave {

class MappedFile {
 public:
  // Errors name the path: NOT_FOUND, or INVALID_ARGUMENT for what is empty or no regular file.
  static absl::StatusOr<MappedFile> open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, num_bytes_}; }

 private:
  MappedFile(const std::byte* data, size_t num_bytes) : data_(data), num_bytes_(num_bytes) {}

  const std::byte* data_ = nullptr;  // page-aligned
  size_t num_bytes_ = 0;
};

// The whole of a small file; RESOURCE_EXHAUSTED when it has more than `max_bytes`. Other errors as
// MappedFile's.
absl::StatusOr<std::string> read_small_file(const std::string& path, uint64_t max_bytes);

}  // namespace conclave
