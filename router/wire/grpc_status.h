// gRPC's statuses and ours; the codes are the same.
#pragma once

#include <grpcpp/support/status.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace conclave {

// What somebody else says, as one line of at most 1,000 ASCII characters: it ends in logs and in
// strings of protobuf, which must be UTF-8.
std::string line_of(absl::string_view message);

absl::Status from_grpc(const grpc::Status& status);
grpc::Status to_grpc(const absl::Status& status);

}  // namespace conclave
