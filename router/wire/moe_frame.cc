#include "router/wire/moe_frame.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "kernels/row_codec.h"
#include "proto/moe_layer.pb.h"
#include "router/wire/frame_parts.h"

namespace conclave {
namespace {

RowsPart f32_part(Rows<const float> rows) {
  SharedBytes packed = SharedBytes::of_size(static_cast<size_t>(rows.num_rows) *
                                            static_cast<size_t>(rows.num_cols) * sizeof(float));
  pack_rows(rows, DType::kF32, packed.fill());
  return {.dtype = DType::kF32,
          .num_rows = rows.num_rows,
          .num_cols = rows.num_cols,
          .data = to_slice(std::move(packed))};
}

absl::StatusOr<Matrix<float>> read_f32(const OpenFrame& open) {
  ASSIGN_OR_RETURN(const RowsShape shape, check_rows(open));
  if (shape.dtype != DType::kF32) {
    return absl::InvalidArgumentError(
        absl::StrFormat("rows of %s; a layer's are f32", dtype_name(shape.dtype)));
  }
  Matrix<float> rows(shape.num_rows, shape.num_cols);
  unpack_rows(open.data.data(), DType::kF32, rows.view());
  return rows;
}

absl::StatusOr<MoeFrame> read_moe(const v1::MoeForwardRequest& head, const OpenFrame& open) {
  MoeFrame frame{.layer_idx = head.layer_idx()};
  ASSIGN_OR_RETURN(frame.hidden, read_f32(open));
  return frame;
}

absl::StatusOr<MoeReplyFrame> read_reply(const v1::MoeForwardResponse& head,
                                         const OpenFrame& open) {
  MoeReplyFrame reply;
  reply.status = from_proto(head.status());
  if (!reply.status.ok()) return reply;
  ASSIGN_OR_RETURN(reply.answer.out, read_f32(open));
  const int32_t num_rows = reply.answer.out.num_rows();
  for (const v1::RowFault& proto : head.faults()) {
    RowFault fault{proto.token_idx(), from_proto(proto.status())};
    if (fault.token_idx < 0 || fault.token_idx >= num_rows || fault.status.ok()) {
      return absl::InvalidArgumentError(absl::StrFormat("a fault of token %d of %d with code %d",
                                                        fault.token_idx, num_rows,
                                                        proto.status().code()));
    }
    reply.answer.faults.push_back(std::move(fault));
  }
  return reply;
}

grpc::ByteBuffer encode_error(uint64_t sequence, const absl::Status& status) {
  v1::MoeForwardResponse head;
  head.set_sequence(sequence);
  to_proto(status, head.mutable_status());
  absl::StatusOr<grpc::ByteBuffer> frame = seal_frame(head.SerializeAsString(), std::nullopt);
  CHECK(frame.ok());  // a status is small
  return *std::move(frame);
}

}  // namespace

absl::StatusOr<grpc::ByteBuffer> encode_moe(uint64_t sequence, int32_t layer_idx,
                                            Rows<const float> hidden) {
  CHECK(hidden.num_cols > 0);
  v1::MoeForwardRequest head;
  head.set_sequence(sequence);
  head.set_layer_idx(layer_idx);
  return seal_frame(head.SerializeAsString(), f32_part(hidden));
}

absl::StatusOr<ReadFrame<MoeFrame>> decode_moe(const grpc::ByteBuffer& frame) {
  ASSIGN_OR_RETURN(const OpenFrame open, open_frame(frame));
  v1::MoeForwardRequest head;
  if (!head.ParseFromString(open.head)) {
    return absl::InvalidArgumentError("a frame that is no MoeForwardRequest");
  }
  return ReadFrame<MoeFrame>{head.sequence(), read_moe(head, open)};
}

grpc::ByteBuffer encode_moe_reply(uint64_t sequence, const absl::StatusOr<MoeAnswer>& answer) {
  if (!answer.ok()) return encode_error(sequence, answer.status());
  v1::MoeForwardResponse head;
  head.set_sequence(sequence);
  for (const RowFault& fault : answer->faults) {
    CHECK(!fault.status.ok());
    v1::RowFault* const proto = head.add_faults();
    proto->set_token_idx(fault.token_idx);
    to_proto(fault.status, proto->mutable_status());
  }
  absl::StatusOr<grpc::ByteBuffer> frame =
      seal_frame(head.SerializeAsString(), f32_part(answer->out.view()));
  return frame.ok() ? *std::move(frame) : encode_error(sequence, frame.status());
}

absl::StatusOr<ReadFrame<MoeReplyFrame>> decode_moe_reply(const grpc::ByteBuffer& frame) {
  ASSIGN_OR_RETURN(const OpenFrame open, open_frame(frame));
  v1::MoeForwardResponse head;
  if (!head.ParseFromString(open.head)) {
    return absl::InvalidArgumentError("a frame that is no MoeForwardResponse");
  }
  return ReadFrame<MoeReplyFrame>{head.sequence(), read_reply(head, open)};
}

}  // namespace conclave
