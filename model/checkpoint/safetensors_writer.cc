#include "model/checkpoint/safetensors_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "common/checked_math.h"
#include "common/status_macros.h"
#include "model/config/json_reader.h"
#include "nlohmann/json.hpp"

namespace conclave {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian");

std::string_view bytes_of(const TensorToWrite& tensor) {
  return std::visit(
      [](const auto& values) {
        return std::string_view(reinterpret_cast<const char*>(values.data()), values.size_bytes());
      },
      tensor.values);
}

bool is_i64(const TensorToWrite& tensor) { return tensor.values.index() == 1; }

absl::Status check_shapes(std::span<const TensorToWrite> tensors) {
  absl::flat_hash_set<std::string> names;
  for (const TensorToWrite& tensor : tensors) {
    std::optional<uint64_t> bytes = is_i64(tensor) ? 8 : 4;
    for (const int64_t dim : tensor.shape) {
      bytes = dim < 0 || !bytes ? std::nullopt : checked_mul(*bytes, static_cast<uint64_t>(dim));
    }
    if (bytes != bytes_of(tensor).size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", printable(tensor.name), " has a shape that is not its size"));
    }
    if (!names.insert(tensor.name).second || tensor.name == "__metadata__") {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", printable(tensor.name), " cannot have that name"));
    }
  }
  return absl::OkStatus();
}

// The length of the JSON and the JSON, padded so that the data begin at a multiple of 8.
std::string make_header(const std::vector<const TensorToWrite*>& order) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  uint64_t begin = 0;
  for (const TensorToWrite* tensor : order) {
    const uint64_t end = begin + bytes_of(*tensor).size();
    header[tensor->name] = {{"dtype", is_i64(*tensor) ? "I64" : "F32"},
                            {"shape", tensor->shape},
                            {"data_offsets", {begin, end}}};
    begin = end;
  }
  // "replace": a name that is no UTF-8 is written damaged rather than thrown about.
  std::string json = header.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  json.append((8 - json.size() % 8) % 8, ' ');
  const uint64_t num_bytes = json.size();
  return std::string(reinterpret_cast<const char*>(&num_bytes), 8) + json;
}

absl::Status write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      return absl::UnavailableError(absl::StrCat("writing ", path, ": ", std::strerror(errno)));
    }
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return absl::OkStatus();
}

absl::Status write_file(int fd, const std::vector<const TensorToWrite*>& order,
                        const std::string& path) {
  RETURN_IF_ERROR(write_all(fd, make_header(order), path));
  for (const TensorToWrite* tensor : order) {
    RETURN_IF_ERROR(write_all(fd, bytes_of(*tensor), path));
  }
  if (::fsync(fd) != 0) {
    return absl::UnavailableError(absl::StrCat("writing ", path, ": ", std::strerror(errno)));
  }
  return absl::OkStatus();
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
  if (::fsync(fd) != 0 && errno != EINVAL) {
    status = absl::UnavailableError(absl::StrCat("writing ", path, ": ", std::strerror(errno)));
  }
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

absl::Status write_safetensors(const std::string& path, std::span<const TensorToWrite> tensors) {
  RETURN_IF_ERROR(check_shapes(tensors));
  RETURN_IF_ERROR(check_can_write(path));
  std::vector<const TensorToWrite*> order;
  for (const TensorToWrite& tensor : tensors) order.push_back(&tensor);
  // Wide elements first, so that every tensor lies aligned.
  std::stable_sort(order.begin(), order.end(), [](const TensorToWrite* a, const TensorToWrite* b) {
    return is_i64(*a) && !is_i64(*b);
  });

  std::string temporary;
  const int fd = open_temporary(path, &temporary);
  if (fd < 0) {
    return absl::UnavailableError(absl::StrCat("writing ", path, ": ", std::strerror(errno)));
  }
  absl::Status status = write_file(fd, order, path);
  if (::close(fd) != 0 && status.ok()) {
    status = absl::UnavailableError(absl::StrCat("writing ", path, ": ", std::strerror(errno)));
  }
  if (status.ok() && std::rename(temporary.c_str(), path.c_str()) != 0) {
    status = absl::UnavailableError(absl::StrCat("writing ", path, ": ", std::strerror(errno)));
  }
  if (!status.ok()) {
    ::unlink(temporary.c_str());
    return status;
  }
  return sync_folder(path);
}

}  // namespace conclave
