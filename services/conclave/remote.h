// How the commands that talk to a gateway reach it.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "google/protobuf/message.h"

namespace conclave {

std::shared_ptr<grpc::Channel> connect_to(const std::string& address);

void set_timeout(absl::Duration timeout, grpc::ClientContext* context);

// The same status with the server's address in front of what it said.
absl::Status from_server(const grpc::Status& status, const std::string& address);

// On stdout, with every field.
absl::Status print_json(const google::protobuf::Message& message);

}  // namespace conclave
