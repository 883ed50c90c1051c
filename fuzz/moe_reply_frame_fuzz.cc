// Any bytes as a layer's output: an error of one line, or a status, or rows and faults of rows that
// are there, the same after another way over the wire.
#include <google/protobuf/stubs/logging.h>
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

void check_answer(uint64_t sequence, const MoeAnswer& answer) {
  const auto again = decode_moe_reply(encode_moe_reply(sequence, answer));
  CHECK(again.ok());
  CHECK(again->sequence == sequence);
  CHECK(again->content.ok());
  CHECK(again->content->status.ok());
  const Rows<const float> a = answer.out.view();
  const Rows<const float> b = std::as_const(again->content->answer.out).view();
  CHECK(a.num_rows == b.num_rows);
  CHECK(a.num_cols == b.num_cols);
  for (int32_t t = 0; t < a.num_rows; ++t) {
    CHECK(std::memcmp(a.row(t), b.row(t), static_cast<size_t>(a.num_cols) * sizeof(float)) == 0);
  }
  CHECK(again->content->answer.faults.size() == answer.faults.size());
  for (const RowFault& fault : answer.faults) {
    CHECK(fault.token_idx >= 0);
    CHECK(fault.token_idx < a.num_rows);
    CHECK(!fault.status.ok());
    check_one_line(fault.status);
  }
}

}  // namespace
}  // namespace conclave

// Protobuf writes a line to stderr for every string that is not UTF-8.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  google::protobuf::SetLogHandler(nullptr);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const grpc::Slice slice(data, size);
  const auto read = conclave::decode_moe_reply(grpc::ByteBuffer(&slice, 1));
  if (!read.ok()) {
    conclave::check_one_line(read.status());
  } else if (!read->content.ok()) {
    conclave::check_one_line(read->content.status());
  } else if (read->content->status.ok()) {
    conclave::check_answer(read->sequence, read->content->answer);
  } else {
    conclave::check_one_line(read->content->status);
  }
  return 0;
}
