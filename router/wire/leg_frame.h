// The frames of Experts.Forward: legs and what is said to them, between domain values and bytes.
// Pure functions; thread-safe. frame.h says how bad frames are told apart.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "router/arrived_leg.h"
#include "router/transport.h"
#include "router/wire/frame.h"

namespace conclave {

// `said` is [N, D]; empty where the status is not OK.
struct LegReplyFrame {
  absl::Status status;
  PackedRows said;
};

// INVALID_ARGUMENT for a leg over kMaxFrameBytes.
// REQUIRES: a request whose rows are as many bytes as its shape says
absl::StatusOr<grpc::ByteBuffer> encode_leg(uint64_t sequence, const LegRequest& request);
absl::StatusOr<ReadFrame<ArrivedLeg>> decode_leg(const grpc::ByteBuffer& frame);

// An answer over kMaxFrameBytes becomes one with an INVALID_ARGUMENT.
grpc::ByteBuffer encode_leg_reply(uint64_t sequence, LegReplyFrame reply);
absl::StatusOr<ReadFrame<LegReplyFrame>> decode_leg_reply(const grpc::ByteBuffer& frame);

}  // namespace conclave
