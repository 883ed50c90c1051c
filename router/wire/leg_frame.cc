#include "router/wire/leg_frame.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "kernels/row_codec.h"
#include "proto/experts.pb.h"
#include "router/wire/frame_parts.h"

namespace conclave {
namespace {

absl::StatusOr<PackedRows> read_rows(const OpenFrame& open) {
  ASSIGN_OR_RETURN(const RowsShape shape, check_rows(open));
  return PackedRows{.dtype = shape.dtype,
                    .num_rows = shape.num_rows,
                    .num_cols = shape.num_cols,
                    .bytes = open.data};
}

absl::Status check_reply_type(DType dtype) {
  if (is_reply_type(dtype)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("rows back as %s; f32 and bf16 come back", dtype_name(dtype)));
}

// A leg that asks for more than a frame can carry is not worked on: its answer could not be sent,
// and a few bytes would cost the server much memory.
absl::Status check_answer_fits(int32_t num_picks, int32_t num_cols, DType reply_type) {
  const uint64_t row_bytes = packed_row_bytes(reply_type, num_cols);
  if (static_cast<uint64_t>(num_picks) <= uint64_t{kMaxFrameBytes} / row_bytes) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("an answer of %d rows of %d columns of %s does not fit into a frame",
                      num_picks, num_cols, dtype_name(reply_type)));
}

absl::StatusOr<ArrivedLeg> read_leg(const v1::ForwardRequest& head, const OpenFrame& open) {
  ASSIGN_OR_RETURN(const DType reply_type, from_proto(head.reply_type()));
  RETURN_IF_ERROR(check_reply_type(reply_type));
  ASSIGN_OR_RETURN(PackedRows hidden, read_rows(open));
  if (head.pick_begin_size() - 1 != hidden.num_rows) {
    return absl::InvalidArgumentError(absl::StrFormat("%d entries of pick_begin for %d rows",
                                                      head.pick_begin_size(), hidden.num_rows));
  }
  RETURN_IF_ERROR(check_answer_fits(head.pick_expert_size(), hidden.num_cols, reply_type));
  return ArrivedLeg{.layer_idx = head.layer_idx(),
                    .placement_version = head.placement_version(),
                    .pick_begin = {head.pick_begin().begin(), head.pick_begin().end()},
                    .pick_expert = {head.pick_expert().begin(), head.pick_expert().end()},
                    .reply_type = reply_type,
                    .hidden = std::move(hidden)};
}

absl::StatusOr<LegReplyFrame> read_reply(const v1::ForwardResponse& head, const OpenFrame& open) {
  LegReplyFrame reply;
  reply.status = from_proto(head.status());
  if (!reply.status.ok()) return reply;
  ASSIGN_OR_RETURN(reply.said, read_rows(open));
  RETURN_IF_ERROR(check_reply_type(reply.said.dtype));
  return reply;
}

grpc::ByteBuffer encode_error(uint64_t sequence, const absl::Status& status) {
  v1::ForwardResponse head;
  head.set_sequence(sequence);
  to_proto(status, head.mutable_status());
  absl::StatusOr<grpc::ByteBuffer> frame = seal_frame(head.SerializeAsString(), std::nullopt);
  CHECK(frame.ok());  // a status is small
  return *std::move(frame);
}

}  // namespace

absl::StatusOr<grpc::ByteBuffer> encode_leg(uint64_t sequence, const LegRequest& request) {
  CHECK(!request.pick_begin.empty());
  CHECK(request.num_cols > 0);
  const size_t num_rows = request.pick_begin.size() - 1;
  CHECK(request.rows.size() == num_rows * packed_row_bytes(request.row_type, request.num_cols));
  v1::ForwardRequest head;
  head.set_sequence(sequence);
  head.set_layer_idx(request.layer_idx);
  head.set_placement_version(request.placement_version);
  head.mutable_pick_begin()->Add(request.pick_begin.begin(), request.pick_begin.end());
  head.mutable_pick_expert()->Add(request.pick_expert.begin(), request.pick_expert.end());
  head.set_reply_type(to_proto(request.reply_type));
  return seal_frame(head.SerializeAsString(), RowsPart{.dtype = request.row_type,
                                                       .num_rows = static_cast<int32_t>(num_rows),
                                                       .num_cols = request.num_cols,
                                                       .data = to_slice(request.rows)});
}

absl::StatusOr<ReadFrame<ArrivedLeg>> decode_leg(const grpc::ByteBuffer& frame) {
  ASSIGN_OR_RETURN(const OpenFrame open, open_frame(frame));
  v1::ForwardRequest head;
  if (!head.ParseFromString(open.head)) {
    return absl::InvalidArgumentError("a frame that is no ForwardRequest");
  }
  return ReadFrame<ArrivedLeg>{head.sequence(), read_leg(head, open)};
}

grpc::ByteBuffer encode_leg_reply(uint64_t sequence, LegReplyFrame reply) {
  if (!reply.status.ok()) return encode_error(sequence, reply.status);
  v1::ForwardResponse head;
  head.set_sequence(sequence);
  absl::StatusOr<grpc::ByteBuffer> frame =
      seal_frame(head.SerializeAsString(), RowsPart{.dtype = reply.said.dtype,
                                                    .num_rows = reply.said.num_rows,
                                                    .num_cols = reply.said.num_cols,
                                                    .data = to_slice(std::move(reply.said.bytes))});
  return frame.ok() ? *std::move(frame) : encode_error(sequence, frame.status());
}

absl::StatusOr<ReadFrame<LegReplyFrame>> decode_leg_reply(const grpc::ByteBuffer& frame) {
  ASSIGN_OR_RETURN(const OpenFrame open, open_frame(frame));
  v1::ForwardResponse head;
  if (!head.ParseFromString(open.head)) {
    return absl::InvalidArgumentError("a frame that is no ForwardResponse");
  }
  return ReadFrame<LegReplyFrame>{head.sequence(), read_reply(head, open)};
}

}  // namespace conclave
