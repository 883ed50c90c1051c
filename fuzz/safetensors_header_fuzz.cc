// Any bytes as a safetensors file: an answer or an error, and what is handed out is sound.
#include <cstddef>
#include <cstdint>
#include <span>

#include "common/check.h"
#include "model/checkpoint/safetensors_header.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto header =
      conclave::parse_safetensors_header(std::as_bytes(std::span(data, size)), "fuzz");
  if (!header.ok()) {
    CHECK(header.status().message().find('\n') == absl::string_view::npos);
    return 0;
  }
  uint64_t end = 0;
  for (const conclave::TensorEntry& tensor : header->tensors) {
    CHECK(tensor.begin == end);
    CHECK(tensor.end >= tensor.begin);
    for (const int64_t dim : tensor.shape) CHECK(dim >= 0);
    end = tensor.end;
  }
  CHECK(header->data_begin + end == size);
  return 0;
}
