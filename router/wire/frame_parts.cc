#include "router/wire/frame_parts.h"

#include <bit>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/checked_math.h"
#include "common/status_macros.h"
#include "kernels/row_codec.h"
#include "router/wire/crc32c.h"
#include "router/wire/field_walk.h"
#include "router/wire/frame.h"
#include "router/wire/grpc_handoff.h"
#include "router/wire/grpc_status.h"

namespace conclave {
namespace {

static_assert(std::endian::native == std::endian::little, "rows travel as they lie in memory");

constexpr uint8_t kChecksumTag = 0x0d;  // field 1, fixed32
constexpr uint8_t kRowsTag = 0x7a;      // field 15, length-delimited; of the rows and of their data
constexpr size_t kChecksumBytes = 5;

void append_varint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

size_t varint_bytes(uint64_t value) { return (std::bit_width(value | 1) + size_t{6}) / 7; }

std::span<const std::byte> bytes_of(const grpc::Slice& slice) {
  return {reinterpret_cast<const std::byte*>(slice.begin()), slice.size()};
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

void append_rows_head(const RowsPart& rows, std::string* out) {
  v1::Rows proto;
  proto.set_dtype(to_proto(rows.dtype));
  proto.set_num_rows(rows.num_rows);
  proto.set_num_cols(rows.num_cols);
  const std::string head = proto.SerializeAsString();
  out->push_back(static_cast<char>(kRowsTag));
  append_varint(head.size() + 1 + varint_bytes(rows.data.size()) + rows.data.size(), out);
  out->append(head);
  out->push_back(static_cast<char>(kRowsTag));
  append_varint(rows.data.size(), out);
}

absl::StatusOr<grpc::Slice> one_piece(const grpc::ByteBuffer& frame) {
  grpc::Slice slice;
  if (frame.Length() == 0) return slice;
  if (frame.TrySingleSlice(&slice).ok()) return slice;
  if (frame.DumpToSingleSlice(&slice).ok()) return slice;
  return absl::InvalidArgumentError("a frame whose bytes cannot be had");
}

// The frame behind its checksum, where it has one.
absl::StatusOr<std::span<const std::byte>> without_checksum(std::span<const std::byte> frame) {
  if (frame.empty() || frame.front() != std::byte{kChecksumTag}) return frame;
  if (frame.size() < kChecksumBytes) {
    return absl::InvalidArgumentError("a frame that ends in its checksum");
  }
  uint32_t said = 0;
  std::memcpy(&said, frame.data() + 1, sizeof(said));
  const std::span<const std::byte> rest = frame.subspan(kChecksumBytes);
  const uint32_t computed = crc32c(rest);
  if (said != computed) {
    return absl::DataLossError(
        absl::StrFormat("a damaged frame of %d bytes: its checksum is %08x and says %08x",
                        frame.size(), computed, said));
  }
  return rest;
}

}  // namespace

grpc::Slice to_slice(SharedBytes bytes) {
  if (bytes.empty()) return {};
  // Owned by the slice, which calls this when its last user is gone.
  auto owned = std::make_unique<SharedBytes>(std::move(bytes));
  void* const data = const_cast<std::byte*>(owned->data());  // gRPC only reads
  const size_t size = owned->size();
  const auto destroy = [](void* shared) {
    take_from_grpc(shared);
    std::unique_ptr<SharedBytes>(static_cast<SharedBytes*>(shared)).reset();
  };
  hand_to_grpc(owned.get());
  return grpc::Slice(data, size, destroy, owned.release());
}

absl::StatusOr<grpc::ByteBuffer> seal_frame(const std::string& head,
                                            const std::optional<RowsPart>& rows) {
  std::string front(kChecksumBytes, '\0');
  front.append(head);
  if (rows) append_rows_head(*rows, &front);
  const size_t frame_bytes = front.size() + (rows ? rows->data.size() : 0);
  if (frame_bytes > size_t{kMaxFrameBytes}) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a frame of %d bytes; the limit is %d", frame_bytes, kMaxFrameBytes));
  }
  uint32_t checksum = crc32c(bytes_of(front).subspan(kChecksumBytes));
  if (rows) checksum = crc32c(bytes_of(rows->data), checksum);
  front[0] = static_cast<char>(kChecksumTag);
  std::memcpy(front.data() + 1, &checksum, sizeof(checksum));
  std::vector<grpc::Slice> slices = {grpc::Slice(front)};
  if (rows && rows->data.size() > 0) slices.push_back(rows->data);
  return grpc::ByteBuffer(slices.data(), slices.size());
}

absl::StatusOr<OpenFrame> open_frame(const grpc::ByteBuffer& frame) {
  // A small slice holds its bytes itself, so it must not move any more.
  ASSIGN_OR_RETURN(grpc::Slice slice, one_piece(frame));
  const auto owner = std::make_shared<const grpc::Slice>(std::move(slice));
  ASSIGN_OR_RETURN(const std::span<const std::byte> bytes, without_checksum(bytes_of(*owner)));
  OpenFrame open;
  ASSIGN_OR_RETURN(const SplitMessage message, split_field_15(bytes));
  open.head = message.rest;
  if (!message.field_15) return open;
  ASSIGN_OR_RETURN(const SplitMessage rows, split_field_15(*message.field_15));
  if (!open.rows_head.ParseFromString(rows.rest)) {
    return absl::InvalidArgumentError("a frame whose rows have a head that cannot be parsed");
  }
  open.has_rows = true;
  if (rows.field_15) open.data = SharedBytes(*rows.field_15, owner);
  return open;
}

absl::StatusOr<RowsShape> check_rows(const OpenFrame& frame) {
  if (!frame.has_rows) return absl::InvalidArgumentError("a frame without rows");
  const v1::Rows& head = frame.rows_head;
  ASSIGN_OR_RETURN(const DType dtype, from_proto(head.dtype()));
  if (head.num_rows() < 0 || head.num_cols() <= 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%d rows of %d columns: no matrix", head.num_rows(), head.num_cols()));
  }
  const uint64_t row_bytes = packed_row_bytes(dtype, head.num_cols());
  const auto all_bytes = checked_mul(row_bytes, static_cast<uint64_t>(head.num_rows()));
  if (!all_bytes || *all_bytes != frame.data.size()) {
    return absl::InvalidArgumentError(absl::StrFormat("%d rows of %d columns of %s in %d bytes",
                                                      head.num_rows(), head.num_cols(),
                                                      dtype_name(dtype), frame.data.size()));
  }
  return RowsShape{dtype, head.num_rows(), head.num_cols()};
}

v1::DType to_proto(DType dtype) {
  CHECK(is_row_type(dtype));
  if (dtype == DType::kF8E4M3) return v1::DTYPE_F8E4M3;
  return dtype == DType::kF32 ? v1::DTYPE_F32 : v1::DTYPE_BF16;
}

absl::StatusOr<DType> from_proto(v1::DType dtype) {
  if (dtype == v1::DTYPE_F32) return DType::kF32;
  if (dtype == v1::DTYPE_BF16) return DType::kBF16;
  if (dtype == v1::DTYPE_F8E4M3) return DType::kF8E4M3;
  return absl::InvalidArgumentError(
      absl::StrFormat("rows of type %d; f32, bf16 and fp8 travel", static_cast<int>(dtype)));
}

void to_proto(const absl::Status& status, v1::Status* proto) {
  proto->set_code(static_cast<int32_t>(status.code()));
  proto->set_message(line_of(status.message()));
}

absl::Status from_proto(const v1::Status& proto) {
  constexpr int32_t kLastCode = static_cast<int32_t>(absl::StatusCode::kUnauthenticated);
  const bool is_known = proto.code() >= 0 && proto.code() <= kLastCode;
  const auto code =
      is_known ? static_cast<absl::StatusCode>(proto.code()) : absl::StatusCode::kUnknown;
  return absl::Status(code, line_of(proto.message()));
}

}  // namespace conclave
