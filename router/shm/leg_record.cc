#include "router/shm/leg_record.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "kernels/row_codec.h"

namespace conclave {
namespace {

constexpr size_t kMaxMessageBytes = 1024;

struct LegHead {
  uint64_t sequence = 0;
  int64_t placement_version = 0;
  int32_t layer_idx = 0;
  uint32_t num_rows = 0;
  uint32_t num_picks = 0;
  uint32_t num_cols = 0;
  uint32_t row_type = 0;
  uint32_t reply_type = 0;
};

struct ReplyHead {
  uint64_t sequence = 0;
  uint32_t code = 0;  // of absl
  uint32_t dtype = 0;
  uint32_t num_cols = 0;
  uint32_t reserved = 0;
};

absl::Status unreadable(const char* what) {
  return absl::InvalidArgumentError(absl::StrFormat("a record that cannot be read: %s", what));
}

// The types that rows travel in, as numbers of this file's own.
uint32_t number_of(DType dtype) {
  CHECK(is_row_type(dtype));
  if (dtype == DType::kF8E4M3) return 3;
  return dtype == DType::kF32 ? 1 : 2;
}

absl::StatusOr<DType> row_type_of(uint32_t number) {
  if (number == 1) return DType::kF32;
  if (number == 2) return DType::kBF16;
  if (number == 3) return DType::kF8E4M3;
  return unreadable("a type of rows that nobody knows");
}

// Walks a record from its front.
class RecordWalk {
 public:
  explicit RecordWalk(std::span<const std::byte> record) : left_(record) {}

  template <typename Head>
  absl::StatusOr<Head> head() {
    if (left_.size() < sizeof(Head)) return unreadable("shorter than its head");
    Head head;
    std::memcpy(&head, left_.data(), sizeof(head));
    left_ = left_.subspan(sizeof(head));
    return head;
  }

  absl::StatusOr<std::vector<int32_t>> numbers(uint64_t count) {
    if (count > left_.size() / sizeof(int32_t)) return unreadable("shorter than its numbers");
    std::vector<int32_t> values(count);
    if (count > 0) std::memcpy(values.data(), left_.data(), count * sizeof(int32_t));
    left_ = left_.subspan(count * sizeof(int32_t));
    return values;
  }

  std::span<const std::byte> rest() const { return left_; }

 private:
  std::span<const std::byte> left_;
};

// Counts are 32 bits wide, so their product with a size fits; whether it is what came is the check.
bool is_shape(uint64_t num_rows, uint64_t num_cols, DType dtype, size_t num_bytes) {
  if (num_cols > kMaxRecordBytes || num_rows > kMaxRecordBytes) return false;
  return num_rows * packed_row_bytes(dtype, static_cast<int32_t>(num_cols)) == num_bytes;
}

absl::Status check_asked(const LegHead& head, DType reply_type) {
  if (!is_reply_type(reply_type)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("rows back as %s; f32 and bf16 come back", dtype_name(reply_type)));
  }
  const uint64_t num_bytes =
      head.num_picks * uint64_t{packed_row_bytes(reply_type, static_cast<int32_t>(head.num_cols))};
  if (num_bytes <= kMaxRecordBytes - sizeof(ReplyHead)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("an answer of %d rows of %d columns of %s does not fit into a record",
                      head.num_picks, head.num_cols, dtype_name(reply_type)));
}

template <typename T>
std::byte* append(std::span<const T> values, std::byte* to) {
  if (!values.empty()) std::memcpy(to, values.data(), values.size_bytes());
  return to + values.size_bytes();
}

}  // namespace

size_t leg_record_bytes(const LegRequest& request) {
  return sizeof(LegHead) + request.pick_begin.size_bytes() + request.pick_expert.size_bytes() +
         request.rows.size();
}

void write_leg(uint64_t sequence, const LegRequest& request, std::byte* record) {
  CHECK(!request.pick_begin.empty());
  const LegHead head{.sequence = sequence,
                     .placement_version = request.placement_version,
                     .layer_idx = request.layer_idx,
                     .num_rows = static_cast<uint32_t>(request.pick_begin.size() - 1),
                     .num_picks = static_cast<uint32_t>(request.pick_expert.size()),
                     .num_cols = static_cast<uint32_t>(request.num_cols),
                     .row_type = number_of(request.row_type),
                     .reply_type = number_of(request.reply_type)};
  std::memcpy(record, &head, sizeof(head));
  std::byte* to = append(request.pick_begin, record + sizeof(head));
  to = append(request.pick_expert, to);
  append<std::byte>(request.rows, to);
}

absl::StatusOr<LegRecord> read_leg(std::span<const std::byte> record) {
  RecordWalk walk(record);
  ASSIGN_OR_RETURN(const LegHead head, walk.head<LegHead>());
  ASSIGN_OR_RETURN(const DType row_type, row_type_of(head.row_type));
  ASSIGN_OR_RETURN(const DType reply_type, row_type_of(head.reply_type));
  LegRecord read{.sequence = head.sequence};
  ASSIGN_OR_RETURN(read.leg.pick_begin, walk.numbers(uint64_t{head.num_rows} + 1));
  ASSIGN_OR_RETURN(read.leg.pick_expert, walk.numbers(head.num_picks));
  if (!is_shape(head.num_rows, head.num_cols, row_type, walk.rest().size()) || head.num_cols == 0) {
    return unreadable("its rows are not of its shape");
  }
  read.wrong = check_asked(head, reply_type);
  if (!read.wrong.ok()) return read;
  read.leg.layer_idx = head.layer_idx;
  read.leg.placement_version = head.placement_version;
  read.leg.reply_type = reply_type;
  read.leg.hidden = {.dtype = row_type,
                     .num_rows = static_cast<int32_t>(head.num_rows),
                     .num_cols = static_cast<int32_t>(head.num_cols),
                     .bytes = SharedBytes::copy_of(walk.rest())};
  return read;
}

size_t reply_record_bytes(const LegSaid& said) {
  if (said.status.ok()) return sizeof(ReplyHead) + said.rows.size();
  return sizeof(ReplyHead) + std::min(said.status.message().size(), kMaxMessageBytes);
}

void write_reply(const LegSaid& said, std::byte* record) {
  const ReplyHead head{.sequence = said.sequence,
                       .code = static_cast<uint32_t>(said.status.raw_code()),
                       .dtype = number_of(said.dtype),
                       .num_cols = static_cast<uint32_t>(said.num_cols)};
  std::memcpy(record, &head, sizeof(head));
  const size_t num_bytes = reply_record_bytes(said) - sizeof(head);
  const void* const from =
      said.status.ok() ? static_cast<const void*>(said.rows.data()) : said.status.message().data();
  if (num_bytes > 0) std::memcpy(record + sizeof(head), from, num_bytes);
}

absl::StatusOr<LegSaid> read_reply(std::span<const std::byte> record) {
  RecordWalk walk(record);
  ASSIGN_OR_RETURN(const ReplyHead head, walk.head<ReplyHead>());
  LegSaid said{.sequence = head.sequence};
  const std::span<const std::byte> rest = walk.rest();
  if (head.code != 0) {
    const auto* const text = reinterpret_cast<const char*>(rest.data());
    std::string message(text, std::min(rest.size(), kMaxMessageBytes));
    for (char& letter : message) letter = letter >= ' ' && letter <= '~' ? letter : '?';
    const bool known = head.code <= static_cast<uint32_t>(absl::StatusCode::kUnauthenticated);
    said.status = {known ? static_cast<absl::StatusCode>(head.code) : absl::StatusCode::kUnknown,
                   message};
    return said;
  }
  ASSIGN_OR_RETURN(said.dtype, row_type_of(head.dtype));
  if (!is_reply_type(said.dtype)) return unreadable("rows back of a type that only goes out");
  if (head.num_cols == 0 || head.num_cols > kMaxRecordBytes) {
    return unreadable("its rows are not of its shape");
  }
  said.num_cols = static_cast<int32_t>(head.num_cols);
  if (rest.size() % packed_row_bytes(said.dtype, said.num_cols) != 0) {
    return unreadable("its rows are not of its shape");
  }
  said.rows = SharedBytes::copy_of(rest);
  return said;
}

}  // namespace conclave
