// gRPC's statuses and ours; the codes are the same.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace conclave {

absl::Status from_grpc(const grpc::Status& status);
grpc::Status to_grpc(const absl::Status& status);

}  // namespace conclave
