// A file that appears under its name whole or not at all: it is written under a temporary name in
// the same folder, and renamed once all of it is on the disk. Errors name the path; a full disk is
// RESOURCE_EXHAUSTED.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace conclave {

// Whether `path` can be written, as far as that can be known beforehand: its folder is there and
// may be written, and `path` is a regular file or nothing. A device or a link is refused, for a
// rename would put a file in its place.
absl::Status check_can_write(const std::string& path);

class NewFile {
 public:
  static absl::StatusOr<std::unique_ptr<NewFile>> create(const std::string& path);

  // Removes what was not finished.
  ~NewFile();

  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  // Anywhere, in any order.
  absl::Status write(uint64_t offset, std::string_view bytes);

  // The last call.
  absl::Status finish();

 private:
  NewFile(std::string path, std::string temporary, int fd)
      : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {}

  const std::string path_;
  const std::string temporary_;
  int fd_ = -1;  // -1 once it is closed
  bool renamed_ = false;
};

// The whole of a small file at once.
absl::Status write_new_file(const std::string& path, std::string_view text);

}  // namespace conclave
