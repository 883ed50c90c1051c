// What all frames of this project have in common, and the words for what can be wrong with one.
//
// A frame is one protobuf message on a stream (proto/experts.proto, proto/moe_layer.proto):
//
//     0d c c c c | head: the small fields | 7a LENGTH { rows' head | 7a LENGTH rows }
//
// It may begin with a checksum over all that follows, and its rows come last, in field 15 of a
// message in field 15, so that they are written and read in one piece and never become a string of
// protobuf's. Readers accept the fields in any order, as from any protobuf writer, but for the
// checksum, which is the first or absent.
//
// Two kinds of bad frames are told apart, because their ends differ:
//   - one that cannot be read (checksum: DATA_LOSS; not the message it should be: INVALID_ARGUMENT)
//     ends its stream, for not even its sequence number can be believed. A decoder's own status.
//   - one that can be read but whose content is wrong is answered with a status, by its sequence
//     number, and the stream goes on. ReadFrame::content.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"

namespace conclave {

// Every end of a stream sets this as gRPC's limit for messages, and no larger frame is sent. The
// widest leg that is planned, 1,024 picks of a model with D = 7,168 in f32, is 28 MiB.
inline constexpr int kMaxFrameBytes = 64 << 20;

template <typename Content>
struct ReadFrame {
  uint64_t sequence = 0;
  absl::StatusOr<Content> content;
};

}  // namespace conclave
