#include "router/wire/grpc_status.h"

namespace conclave {

std::string line_of(absl::string_view message) {
  constexpr size_t kMaxMessageBytes = 1000;
  std::string line(message.substr(0, kMaxMessageBytes));
  for (char& c : line) {
    if (c < ' ' || c > '~') c = '?';
  }
  return line;
}

absl::Status from_grpc(const grpc::Status& status) {
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  return absl::Status(code, line_of(status.error_message()));
}

grpc::Status to_grpc(const absl::Status& status) {
  const auto code = static_cast<grpc::StatusCode>(status.code());
  return {code, std::string(status.message())};
}

}  // namespace conclave
