// Any bytes as a leg: an error of one line, or a leg whose shape is right and that is the same
// after another way over the wire.
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

void check_leg(uint64_t sequence, const ArrivedLeg& leg) {
  CHECK(leg.hidden.num_rows >= 0);
  CHECK(leg.hidden.num_cols > 0);
  CHECK(leg.pick_begin.size() == static_cast<size_t>(leg.hidden.num_rows) + 1);
  const auto frame = encode_leg(sequence, leg.view(ServerId{0}));
  CHECK(frame.ok());
  const auto again = decode_leg(*frame);
  CHECK(again.ok());
  CHECK(again->sequence == sequence);
  CHECK(again->content.ok());
  CHECK(again->content->layer_idx == leg.layer_idx);
  CHECK(again->content->placement_version == leg.placement_version);
  CHECK(again->content->pick_begin == leg.pick_begin);
  CHECK(again->content->pick_expert == leg.pick_expert);
  CHECK(again->content->reply_type == leg.reply_type);
  CHECK(again->content->hidden == leg.hidden);
}

}  // namespace
}  // namespace conclave

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const grpc::Slice slice(data, size);
  const auto read = conclave::decode_leg(grpc::ByteBuffer(&slice, 1));
  if (!read.ok()) {
    conclave::check_one_line(read.status());
  } else if (!read->content.ok()) {
    conclave::check_one_line(read->content.status());
  } else {
    conclave::check_leg(read->sequence, *read->content);
  }
  return 0;
}
