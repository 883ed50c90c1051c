#include "router/shm/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_format.h"

namespace conclave {
namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

absl::Status no_memory(const char* what) {
  return absl::ResourceExhaustedError(
      absl::StrFormat("cannot make shared memory: %s: %s", what, std::strerror(errno)));
}

}  // namespace

absl::StatusOr<SharedMemory> SharedMemory::create(size_t num_bytes) {
  UniqueFd fd(memfd_create("conclave", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return no_memory("memfd_create");
  if (ftruncate(fd.get(), static_cast<off_t>(num_bytes)) != 0) return no_memory("ftruncate");
  if (fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0) return no_memory("F_ADD_SEALS");
  return map_checked(std::move(fd), num_bytes);
}

absl::StatusOr<SharedMemory> SharedMemory::map(UniqueFd fd, size_t num_bytes) {
  struct stat what {};
  if (fstat(fd.get(), &what) != 0 || what.st_size != static_cast<off_t>(num_bytes)) {
    return absl::FailedPreconditionError(
        absl::StrFormat("shared memory of %d bytes instead of %d", what.st_size, num_bytes));
  }
  const int seals = fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) {
    return absl::FailedPreconditionError("shared memory whose size is not sealed");
  }
  return map_checked(std::move(fd), num_bytes);
}

absl::StatusOr<SharedMemory> SharedMemory::map_checked(UniqueFd fd, size_t num_bytes) {
  void* const data = mmap(nullptr, num_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (data == MAP_FAILED) return no_memory("mmap");
  SharedMemory memory;
  memory.fd_ = std::move(fd);
  memory.data_ = static_cast<std::byte*>(data);
  memory.size_ = num_bytes;
  return memory;
}

SharedMemory::~SharedMemory() {
  if (data_ != nullptr) munmap(data_, size_);
}

SharedMemory::SharedMemory(SharedMemory&& other) noexcept
    : fd_(std::move(other.fd_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

SharedMemory& SharedMemory::operator=(SharedMemory&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace conclave
