#include "gateway/names.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace conclave {
namespace {

constexpr size_t kMaxHostBytes = 255;
constexpr size_t kMaxQuotedBytes = 160;

bool is_printable(std::string_view text, char first) {
  return std::all_of(text.begin(), text.end(), [first](char c) { return c >= first && c <= '~'; });
}

bool is_port(std::string_view text) {
  uint32_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port >= 1 && port <= 65535;
}

bool is_host(std::string_view host) {
  if (host.empty() || host.size() > kMaxHostBytes || !is_printable(host, '!')) return false;
  if (host.front() == '[') return host.size() > 2 && host.find(']') == host.size() - 1;
  return host.find_first_of(":[]/") == std::string_view::npos;
}

}  // namespace

std::string in_quotes(std::string_view text) {
  const std::string_view head = text.substr(0, kMaxQuotedBytes);
  return absl::StrCat("\"", absl::CHexEscape(std::string(head)),
                      head.size() < text.size() ? "...\"" : "\"");
}

absl::Status check_name(std::string_view field, std::string_view name) {
  if (name.empty())
    return absl::InvalidArgumentError(absl::StrCat(std::string(field), " is empty"));
  if (name.size() > kMaxNameBytes) {
    return absl::InvalidArgumentError(absl::StrCat(std::string(field), " is ", in_quotes(name),
                                                   ", ", name.size(), " bytes, must be at most ",
                                                   kMaxNameBytes));
  }
  if (is_printable(name, ' ')) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(std::string(field), " is ", in_quotes(name), ", must be printable ASCII"));
}

absl::Status check_address(std::string_view field, std::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon != std::string_view::npos && is_host(address.substr(0, colon)) &&
      is_port(address.substr(colon + 1))) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(std::string(field), " is ", in_quotes(address), ", must be HOST:PORT"));
}

}  // namespace conclave
