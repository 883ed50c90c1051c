// The header of a safetensors file, parsed and checked against the length of the file.
//
//     u64 N (little-endian) | N bytes of JSON | data
//     JSON: { "name": {"dtype": "BF16", "shape": [4, 8], "data_offsets": [begin, end]}, ... }
//
// A pure function of bytes that others wrote. What it hands out is sound: every dtype is known,
// every shape has as many bytes as its offsets say, and the tensors fill the data without gap or
// overlap to the last byte of the file. Memory stays in proportion to the header. Source:
// docs/models.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace conclave {

constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;
constexpr size_t kMaxTensorRank = 8;

struct TensorEntry {
  std::string name;
  std::string dtype;           // BF16, F8_E4M3, ...
  std::vector<int64_t> shape;  // [] is a scalar
  uint64_t begin = 0;          // bytes after the header
  uint64_t end = 0;
};

struct SafetensorsHeader {
  uint64_t data_begin = 0;           // 8 + N
  std::vector<TensorEntry> tensors;  // in the order of their data
};

// Bytes of one element; nothing for a dtype that the format does not have.
std::optional<uint64_t> safetensors_element_bytes(std::string_view dtype);

// `file` is the whole file and `where` its name for messages.
absl::StatusOr<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> file,
                                                           std::string_view where);

}  // namespace conclave
