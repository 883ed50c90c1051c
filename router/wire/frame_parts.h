// The parts of frames, for the codecs beside this file: checksum, head and rows. See frame.h.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/dtype.h"
#include "common/shared_bytes.h"
#include "proto/types.pb.h"

namespace conclave {

// Rows on their way out.
struct RowsPart {
  DType dtype = DType::kF32;
  int32_t num_rows = 0;
  int32_t num_cols = 0;
  grpc::Slice data;
};

// The same memory, seen by the other side.
grpc::Slice to_slice(SharedBytes bytes);

// A frame of a serialised head without checksum and rows, and of rows. INVALID_ARGUMENT for one of
// more than kMaxFrameBytes: another try would be as large.
absl::StatusOr<grpc::ByteBuffer> seal_frame(const std::string& head,
                                            const std::optional<RowsPart>& rows);

// A frame taken apart; its rows are those of the slice that was opened.
struct OpenFrame {
  std::string head;  // what is left of the message without checksum and rows
  bool has_rows = false;
  v1::Rows rows_head;
  SharedBytes data;
};

// Frames that came in one slice are opened where they lie; others are put together first, which is
// the only copy that is made of them. Fails where gRPC has no memory for it.
absl::StatusOr<OpenFrame> open_frame(const grpc::ByteBuffer& frame);

// What the head of the rows says, checked against the number of bytes: INVALID_ARGUMENT.
struct RowsShape {
  DType dtype = DType::kF32;
  int32_t num_rows = 0;
  int32_t num_cols = 0;
};
absl::StatusOr<RowsShape> check_rows(const OpenFrame& frame);

v1::DType to_proto(DType dtype);
absl::StatusOr<DType> from_proto(v1::DType dtype);

// Statuses inside frames. Both ways a message is made one line of ASCII, for protobuf does not read
// strings that are not UTF-8 and logs are lines; a code that nobody knows becomes UNKNOWN.
void to_proto(const absl::Status& status, v1::Status* proto);
absl::Status from_proto(const v1::Status& proto);

}  // namespace conclave
