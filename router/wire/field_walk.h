// A walk over the fields of a serialised protobuf message that leaves the last field where it lies.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace conclave {

struct SplitMessage {
  std::string rest;                                    // the other fields, in their order
  std::optional<std::span<const std::byte>> field_15;  // a view; absent where there is none
};

// INVALID_ARGUMENT where `message` is not a message, or has field 15 twice or of another kind. Also
// for a fixed32 or fixed64: only the checksum is one, and it has been taken off. So the damaged tag
// of a checksum cannot pass for a field that nobody knows.
absl::StatusOr<SplitMessage> split_field_15(std::span<const std::byte> message);

}  // namespace conclave
