#include "model/checkpoint/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status_macros.h"

namespace conclave {
namespace {

absl::Status file_error(const std::string& path, int error) {
  const std::string message = absl::StrCat(path, ": ", std::strerror(error));
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(message);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(message);
  return absl::UnavailableError(message);
}

struct OpenFile {
  int fd = -1;  // the caller closes it
  uint64_t num_bytes = 0;
};

absl::StatusOr<OpenFile> open_regular(const std::string& path) {
  // O_NONBLOCK: a pipe of that name must not make us wait for its writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return file_error(path, errno);
  struct stat info = {};
  if (::fstat(fd, &info) != 0) {
    const int error = errno;
    ::close(fd);
    return file_error(path, error);
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(fd);
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a regular file"));
  }
  if (info.st_size <= 0) {
    ::close(fd);
    return absl::InvalidArgumentError(absl::StrCat(path, " is empty"));
  }
  return OpenFile{fd, static_cast<uint64_t>(info.st_size)};
}

}  // namespace

absl::StatusOr<MappedFile> MappedFile::open(const std::string& path) {
  ASSIGN_OR_RETURN(const OpenFile file, open_regular(path));
  void* const data = ::mmap(nullptr, file.num_bytes, PROT_READ, MAP_SHARED, file.fd, 0);
  const int error = errno;
  ::close(file.fd);  // the mapping keeps the file
  if (data == MAP_FAILED) return file_error(path, error);
  return MappedFile(static_cast<const std::byte*>(data), file.num_bytes);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), num_bytes_(std::exchange(other.num_bytes_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(num_bytes_, other.num_bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) CHECK(::munmap(const_cast<std::byte*>(data_), num_bytes_) == 0);
}

absl::StatusOr<std::string> read_small_file(const std::string& path, uint64_t max_bytes) {
  ASSIGN_OR_RETURN(const OpenFile file, open_regular(path));
  const auto close_file = absl::MakeCleanup([&file] { ::close(file.fd); });
  if (file.num_bytes > max_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(path, " has ", file.num_bytes,
                                                     " bytes, more than the ", max_bytes,
                                                     " that such a file may have"));
  }
  std::string text(file.num_bytes, '\0');
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::read(file.fd, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return file_error(path, errno);
    if (count == 0) break;  // cut since we asked for its length
    done += static_cast<size_t>(count);
  }
  text.resize(done);
  return text;
}

}  // namespace conclave
