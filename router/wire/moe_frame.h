// The frames of MoeLayer.Forward, between domain values and bytes. Pure functions; thread-safe.
// frame.h says how bad frames are told apart.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/rows.h"
#include "router/moe_layer.h"
#include "router/wire/frame.h"

namespace conclave {

// The layer's input as it arrived; T >= 0 rows, D > 0 columns.
struct MoeFrame {
  int32_t layer_idx = 0;
  Matrix<float> hidden;  // [T, D]
};

// The layer's output: every fault names one of the T tokens and is not OK.
struct MoeAnswer {
  std::vector<RowFault> faults;
  Matrix<float> out;  // [T, D]
};

// INVALID_ARGUMENT for rows over kMaxFrameBytes.
absl::StatusOr<grpc::ByteBuffer> encode_moe(uint64_t sequence, int32_t layer_idx,
                                            Rows<const float> hidden);
absl::StatusOr<ReadFrame<MoeFrame>> decode_moe(const grpc::ByteBuffer& frame);

// What the handler says: an answer, or why there is none. An answer over kMaxFrameBytes becomes one
// with an INVALID_ARGUMENT.
grpc::ByteBuffer encode_moe_reply(uint64_t sequence, const absl::StatusOr<MoeAnswer>& answer);

struct MoeReplyFrame {
  absl::Status status;
  MoeAnswer answer;  // empty where the status is not OK
};
absl::StatusOr<ReadFrame<MoeReplyFrame>> decode_moe_reply(const grpc::ByteBuffer& frame);

}  // namespace conclave
