#include "services/conclave/remote.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <chrono>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/json_util.h"
#include "router/wire/grpc_status.h"

namespace conclave {

std::shared_ptr<grpc::Channel> connect_to(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);  // logprobs of long texts
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

void set_timeout(absl::Duration timeout, grpc::ClientContext* context) {
  context->set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(timeout));
}

absl::Status from_server(const grpc::Status& status, const std::string& address) {
  const absl::Status said = from_grpc(status);
  if (said.ok()) return said;
  if (absl::IsUnimplemented(said)) {
    return absl::UnimplementedError(
        absl::StrCat(address,
                     " does not offer that: a gateway with --role frontend has no status, "
                     "one with --role control takes no requests"));
  }
  return absl::Status(said.code(), absl::StrCat(address, ": ", said.message()));
}

absl::Status print_json(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  if (!status.ok()) return absl::InternalError(std::string(status.message()));
  std::fputs(json.c_str(), stdout);
  return absl::OkStatus();
}

}  // namespace conclave
