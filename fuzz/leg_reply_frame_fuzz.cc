// Any bytes as the answer to a leg: an error of one line, or a status or rows of the right shape
// that are the same after another way over the wire.
#include <google/protobuf/stubs/logging.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstddef>
#include <cstdint>

#include "common/check.h"
#include "router/wire/leg_frame.h"

namespace conclave {
namespace {

void check_one_line(const absl::Status& status) {
  CHECK(status.message().find('\n') == absl::string_view::npos);
}

void check_reply(uint64_t sequence, const LegReplyFrame& reply) {
  check_one_line(reply.status);
  const auto again = decode_leg_reply(encode_leg_reply(sequence, reply));
  CHECK(again.ok());
  CHECK(again->sequence == sequence);
  CHECK(again->content.ok());
  CHECK(again->content->status == reply.status);
  CHECK(again->content->said == reply.said);
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
  const auto read = conclave::decode_leg_reply(grpc::ByteBuffer(&slice, 1));
  if (!read.ok()) {
    conclave::check_one_line(read.status());
  } else if (!read->content.ok()) {
    conclave::check_one_line(read->content.status());
  } else {
    conclave::check_reply(read->sequence, *read->content);
  }
  return 0;
}
