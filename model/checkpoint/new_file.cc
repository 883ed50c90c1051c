#include "model/checkpoint/new_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace conclave {
namespace {

// Of the call that just failed.
absl::Status write_error(const std::string& path) {
  const int error = errno;
  const std::string message = absl::StrCat("writing ", path, ": ", std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(message);
  return absl::UnavailableError(message);
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

// A file that was not there before, whose name goes to `temporary`; -1 and errno where there can be
// none. O_EXCL also follows no link, so nobody can lay one there and have us write elsewhere. What
// another process left under such a name may still be in use on another machine: it stays.
int open_temporary(const std::string& path, std::string* temporary) {
  for (int32_t i = 0; i < 100; ++i) {
    *temporary = absl::StrCat(path, ".", ::getpid(), ".", i, ".tmp");
    const int fd =
        ::open(temporary->c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
  return -1;
}

// Without it the rename itself may not survive a power failure. A folder that we cannot read, and a
// file system that syncs no folders, leave nothing to do.
absl::Status sync_folder(const std::string& path) {
  const int fd = ::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return absl::OkStatus();
  absl::Status status;
  if (::fsync(fd) != 0 && errno != EINVAL) status = write_error(path);
  ::close(fd);
  return status;
}

}  // namespace

absl::Status check_can_write(const std::string& path) {
  if (path.empty()) return absl::InvalidArgumentError("the name of the file to write is empty");
  struct stat found = {};
  if (::lstat(path.c_str(), &found) == 0 && !S_ISREG(found.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat("writing ", path, ": it is there and is not a regular file"));
  }
  if (::access(folder_of(path).c_str(), W_OK | X_OK) == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("writing ", path, ": ", std::strerror(errno)));
}

absl::StatusOr<std::unique_ptr<NewFile>> NewFile::create(const std::string& path) {
  RETURN_IF_ERROR(check_can_write(path));
  std::string temporary;
  const int fd = open_temporary(path, &temporary);
  if (fd < 0) return write_error(path);
  return std::unique_ptr<NewFile>(new NewFile(path, std::move(temporary), fd));
}

NewFile::~NewFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!renamed_) ::unlink(temporary_.c_str());
}

absl::Status NewFile::write(uint64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return write_error(path_);
    bytes.remove_prefix(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  return absl::OkStatus();
}

absl::Status NewFile::finish() {
  if (::fsync(fd_) != 0) return write_error(path_);
  if (::close(std::exchange(fd_, -1)) != 0) return write_error(path_);
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) return write_error(path_);
  renamed_ = true;
  return sync_folder(path_);
}

absl::Status write_new_file(const std::string& path, std::string_view text) {
  ASSIGN_OR_RETURN(const std::unique_ptr<NewFile> file, NewFile::create(path));
  RETURN_IF_ERROR(file->write(0, text));
  return file->finish();
}

}  // namespace conclave
