// Any bytes as a layer's input: an error of one line, or rows that have the same bits after another
// way over the wire.
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "router/wire/moe_frame.h"

namespace conclave {
namespace {

void check_one_line(const absl::Status& status) {
  CHECK(status.message().find('\n') == absl::string_view::npos);
}

void check_frame(uint64_t sequence, const MoeFrame& frame) {
  const auto bytes = encode_moe(sequence, frame.layer_idx, frame.hidden.view());
  CHECK(bytes.ok());
  const auto again = decode_moe(*bytes);
  CHECK(again.ok());
  CHECK(again->sequence == sequence);
  CHECK(again->content.ok());
  CHECK(again->content->layer_idx == frame.layer_idx);
  const Rows<const float> a = frame.hidden.view();
  const Rows<const float> b = std::as_const(again->content->hidden).view();
  CHECK(a.num_rows == b.num_rows);
  CHECK(a.num_cols == b.num_cols);
  for (int32_t t = 0; t < a.num_rows; ++t) {
    CHECK(std::memcmp(a.row(t), b.row(t), static_cast<size_t>(a.num_cols) * sizeof(float)) == 0);
  }
}

}  // namespace
}  // namespace conclave

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const grpc::Slice slice(data, size);
  const auto read = conclave::decode_moe(grpc::ByteBuffer(&slice, 1));
  if (!read.ok()) {
    conclave::check_one_line(read.status());
  } else if (!read->content.ok()) {
    conclave::check_one_line(read->content.status());
  } else {
    conclave::check_frame(read->sequence, *read->content);
  }
  return 0;
}
