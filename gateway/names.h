// What names and addresses from outside must look like, and how messages quote them.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace conclave {

inline constexpr size_t kMaxNameBytes = 128;

// OK for 1 to kMaxNameBytes bytes of printable ASCII; otherwise INVALID_ARGUMENT that begins with
// `field` and quotes the value.
absl::Status check_name(std::string_view field, std::string_view name);

// OK for HOST:PORT with a port in [1, 65535]; an IPv6 host stands in brackets.
absl::Status check_address(std::string_view field, std::string_view address);

// In double quotes, escaped, cut where it is long.
std::string in_quotes(std::string_view text);

}  // namespace conclave
