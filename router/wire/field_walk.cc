#include "router/wire/field_walk.h"

#include <cstdint>

#include "absl/strings/str_format.h"

namespace conclave {
namespace {

// The low three bits of a tag.
enum WireType : uint8_t { kVarint = 0, kLengthDelimited = 2 };

// Reads from the front; false where the message ends too early or a number is too long.
class FieldReader {
 public:
  explicit FieldReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  bool at_end() const { return bytes_.empty(); }
  size_t num_left() const { return bytes_.size(); }

  bool read_varint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64 && !bytes_.empty(); shift += 7) {
      const auto byte = static_cast<uint64_t>(bytes_.front());
      bytes_ = bytes_.subspan(1);
      *value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  bool read_bytes(uint64_t count, std::span<const std::byte>* read) {
    if (count > bytes_.size()) return false;
    *read = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return true;
  }

  // The value of a field; of a length-delimited one without its length.
  bool read_value(uint64_t wire_type, std::span<const std::byte>* value) {
    uint64_t number = 0;
    switch (wire_type) {
      case kVarint:
        return read_varint(&number);
      case kLengthDelimited:
        return read_varint(&number) && read_bytes(number, value);
      default:  // groups, which nobody writes any more; fixed numbers; what does not exist
        return false;
    }
  }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace

absl::StatusOr<SplitMessage> split_field_15(std::span<const std::byte> message) {
  SplitMessage split;
  FieldReader reader(message);
  while (!reader.at_end()) {
    const size_t begin = message.size() - reader.num_left();
    uint64_t tag = 0;
    std::span<const std::byte> value;
    const bool is_read = reader.read_varint(&tag) && tag <= UINT32_MAX && tag >> 3 != 0 &&
                         reader.read_value(tag & 7, &value);
    if (!is_read) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "a frame that is no such message: at byte %d of %d", begin, message.size()));
    }
    if (tag >> 3 != 15) {
      const size_t end = message.size() - reader.num_left();
      split.rest.append(reinterpret_cast<const char*>(message.data()) + begin, end - begin);
      continue;
    }
    if ((tag & 7) != kLengthDelimited || split.field_15) {
      return absl::InvalidArgumentError("a frame whose rows are there twice or no bytes");
    }
    split.field_15 = value;
  }
  return split;
}

}  // namespace conclave
