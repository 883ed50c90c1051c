#include "model/checkpoint/safetensors_header.h"

#include <algorithm>
#include <optional>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "common/checked_math.h"
#include "common/status_macros.h"
#include "model/checkpoint/safetensors_sax.h"
#include "model/config/json_reader.h"

namespace conclave {
namespace {

struct DTypeSize {
  std::string_view name;
  uint64_t num_bytes;
};

constexpr DTypeSize kDTypes[] = {
    {"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F8_E4M3", 1}, {"F8_E5M2", 1},
    {"I64", 8}, {"I32", 4}, {"I16", 2}, {"I8", 1},   {"F8_E8M0", 1}, {"BOOL", 1},
    {"U64", 8}, {"U32", 4}, {"U16", 2}, {"U8", 1},
};

absl::Status tensor_error(std::string_view where, const TensorEntry& tensor,
                          const std::string& complaint) {
  return absl::InvalidArgumentError(
      absl::StrCat(std::string(where), ": tensor ", printable(tensor.name), " ", complaint));
}

// The dtype is known, and shape and offsets agree on the number of bytes.
absl::Status check_entry(const TensorEntry& tensor, std::string_view where) {
  const std::optional<uint64_t> size = safetensors_element_bytes(tensor.dtype);
  if (!size.has_value()) {
    return absl::UnimplementedError(absl::StrCat(std::string(where), ": tensor ",
                                                 printable(tensor.name), " has the unknown dtype ",
                                                 printable(tensor.dtype)));
  }
  std::optional<uint64_t> bytes = size;
  for (const int64_t dim : tensor.shape) {
    bytes = checked_mul(*bytes, static_cast<uint64_t>(dim));
    if (!bytes.has_value()) return tensor_error(where, tensor, "has a shape that overflows");
  }
  if (tensor.end < tensor.begin) {
    return tensor_error(where, tensor,
                        absl::StrCat("ends at ", tensor.end, ", before its begin ", tensor.begin));
  }
  if (tensor.end - tensor.begin != *bytes) {
    return tensor_error(where, tensor,
                        absl::StrCat("needs ", *bytes, " bytes by its shape, but its offsets span ",
                                     tensor.end - tensor.begin));
  }
  return absl::OkStatus();
}

// Every byte of the data belongs to exactly one tensor. `tensors` are sorted by begin.
absl::Status check_contiguous(const std::vector<TensorEntry>& tensors, uint64_t data_bytes,
                              std::string_view where) {
  uint64_t expected = 0;
  for (const TensorEntry& tensor : tensors) {
    if (tensor.begin != expected) {
      return tensor_error(where, tensor,
                          absl::StrCat("begins at ", tensor.begin,
                                       tensor.begin < expected ? ", inside the one before that ends"
                                                               : ", after a gap that begins",
                                       " at ", expected));
    }
    expected = tensor.end;
    if (expected > data_bytes) {
      return tensor_error(where, tensor,
                          absl::StrCat("ends at ", expected, ", but the file has only ", data_bytes,
                                       " bytes of data (truncated?)"));
    }
  }
  if (expected != data_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(std::string(where), ": the tensors end at ",
                                                   expected, ", but the file has ", data_bytes,
                                                   " bytes of data"));
  }
  return absl::OkStatus();
}

absl::Status check_names(const std::vector<TensorEntry>& tensors, std::string_view where) {
  absl::flat_hash_set<std::string> names;
  for (const TensorEntry& tensor : tensors) {
    if (!names.insert(tensor.name).second) return tensor_error(where, tensor, "is named twice");
  }
  return absl::OkStatus();
}

// N of the first eight bytes, when the file can hold so much.
absl::StatusOr<uint64_t> header_bytes(std::span<const std::byte> file, std::string_view where) {
  if (file.size() < 8) {
    return absl::InvalidArgumentError(absl::StrCat(std::string(where), " has ", file.size(),
                                                   " bytes, too few for a safetensors header"));
  }
  uint64_t bytes = 0;
  for (size_t i = 0; i < 8; ++i) bytes |= std::to_integer<uint64_t>(file[i]) << (8 * i);
  if (bytes > kMaxSafetensorsHeaderBytes) {
    return absl::InvalidArgumentError(absl::StrCat(std::string(where), " claims a header of ",
                                                   bytes, " bytes, more than ",
                                                   kMaxSafetensorsHeaderBytes));
  }
  if (bytes > file.size() - 8) {
    return absl::InvalidArgumentError(absl::StrCat(std::string(where), " claims a header of ",
                                                   bytes, " bytes, but the file has only ",
                                                   file.size()));
  }
  return bytes;
}

}  // namespace

std::optional<uint64_t> safetensors_element_bytes(std::string_view dtype) {
  for (const DTypeSize& known : kDTypes) {
    if (known.name == dtype) return known.num_bytes;
  }
  return std::nullopt;
}

absl::StatusOr<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> file,
                                                           std::string_view where) {
  ASSIGN_OR_RETURN(const uint64_t num_bytes, header_bytes(file, where));
  SafetensorsHeader header;
  header.data_begin = 8 + num_bytes;
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + 8, num_bytes);
  ASSIGN_OR_RETURN(header.tensors, read_tensor_entries(text, where));

  for (const TensorEntry& tensor : header.tensors) RETURN_IF_ERROR(check_entry(tensor, where));
  RETURN_IF_ERROR(check_names(header.tensors, where));
  std::stable_sort(header.tensors.begin(), header.tensors.end(),
                   [](const TensorEntry& a, const TensorEntry& b) {
                     return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
                   });
  RETURN_IF_ERROR(check_contiguous(header.tensors, file.size() - header.data_begin, where));
  return header;
}

}  // namespace conclave
