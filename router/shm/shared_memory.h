// Memory that two processes share: a memfd, which has no name and goes away with the last process
// that holds it, however that ends.
//
// Its size is sealed, so that a neighbour cannot cut it under our feet. What a neighbour writes
// into it is another matter: read every number once, then check it.
#pragma once

#include <cstddef>

#include "absl/status/statusor.h"
#include "common/unique_fd.h"

namespace conclave {

class SharedMemory {
 public:
  // New, zeros, taken from the machine page by page as it is touched. RESOURCE_EXHAUSTED.
  static absl::StatusOr<SharedMemory> create(size_t num_bytes);

  // What a neighbour has made and passed. FAILED_PRECONDITION unless it is sealed and of this size.
  static absl::StatusOr<SharedMemory> map(UniqueFd fd, size_t num_bytes);

  SharedMemory() = default;
  ~SharedMemory();
  SharedMemory(SharedMemory&& other) noexcept;
  SharedMemory& operator=(SharedMemory&& other) noexcept;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  int fd() const { return fd_.get(); }

 private:
  static absl::StatusOr<SharedMemory> map_checked(UniqueFd fd, size_t num_bytes);

  UniqueFd fd_;
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace conclave
