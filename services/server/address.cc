#include "services/server/address.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace conclave {

std::string HostPort::to_string() const {
  const bool is_v6 = host.find(':') != std::string::npos;
  return is_v6 ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

absl::StatusOr<HostPort> parse_host_port(std::string_view text) {
  const auto wrong = [text] {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", std::string(text), "\" is not HOST:PORT with a port from 0 to 65535"));
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return wrong();
  HostPort parsed;
  const std::string_view port = text.substr(colon + 1);
  if (port.empty() || port.find_first_not_of("0123456789") != std::string_view::npos ||
      !absl::SimpleAtoi(std::string(port), &parsed.port) || parsed.port > 65535) {
    return wrong();
  }
  std::string_view host = text.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return wrong();  // an IPv6 address without brackets: where would its port begin?
  }
  if (host.empty() || host.find_first_of(" \t\r\n,/[]\"") != std::string_view::npos) return wrong();
  parsed.host = std::string(host);
  return parsed;
}

}  // namespace conclave
