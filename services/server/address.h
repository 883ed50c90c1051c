// HOST:PORT as flags and messages say it: "127.0.0.1:7000", "node-3.local:0", "[::1]:7000".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace conclave {

struct HostPort {
  std::string host;  // without brackets
  int32_t port = 0;  // [0, 65535]

  // Listens everywhere, so that nobody can be told this host.
  bool is_wildcard() const { return host == "0.0.0.0" || host == "::"; }
  std::string to_string() const;
};

// INVALID_ARGUMENT quoting what is not HOST:PORT.
absl::StatusOr<HostPort> parse_host_port(std::string_view text);

}  // namespace conclave
