// The frames of Experts.Forward: legs and what is said to them, between domain values and bytes.
// Pure functions; thread-safe. frame.h says how bad frames are told apart.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "router/transport.h"
#include "router/wire/frame.h"

namespace conclave {

// A leg as it arrived: M rows and N picks. Its shape is right: hidden is [M, D] with as many bytes
// and M is what pick_begin says, and its answer fits into a frame. Whether picks are in order and
// anybody holds the experts is for whoever runs the leg.
struct LegFrame {
  int32_t layer_idx = 0;
  int64_t placement_version = 0;
  std::vector<int32_t> pick_begin;   // [M + 1]
  std::vector<int32_t> pick_expert;  // [N]
  DType reply_type = DType::kBF16;
  PackedRows hidden;  // [M, D]

  // As it went out; a view of this. The lane is not on the wire.
  LegRequest view(ServerId server) const;
};

// `said` is [N, D]; empty where the status is not OK.
struct LegReplyFrame {
  absl::Status status;
  PackedRows said;
};

// INVALID_ARGUMENT for a leg over kMaxFrameBytes.
// REQUIRES: a request whose rows are as many bytes as its shape says
absl::StatusOr<grpc::ByteBuffer> encode_leg(uint64_t sequence, const LegRequest& request);
absl::StatusOr<ReadFrame<LegFrame>> decode_leg(const grpc::ByteBuffer& frame);

// An answer over kMaxFrameBytes becomes one with an INVALID_ARGUMENT.
grpc::ByteBuffer encode_leg_reply(uint64_t sequence, LegReplyFrame reply);
absl::StatusOr<ReadFrame<LegReplyFrame>> decode_leg_reply(const grpc::ByteBuffer& frame);

}  // namespace conclave
