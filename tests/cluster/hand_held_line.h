// A server as control hears it, held by hand, and a hello of its own for tests/golden/moonlight.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>

#include "common/check.h"
#include "services/local/model_folder.h"
#include "services/server/control_codec.h"
#include "tests/cluster/test_cluster.h"
#include "tests/support/golden.h"

namespace conclave {

// A server's line to control, held by hand.
class HandHeldLine {
 public:
  explicit HandHeldLine(const std::string& address)
      : stub_(v1::Control::NewStub(channel_to(address))), stream_(open()) {}

  bool say(const v1::Hello& hello) {
    v1::RegisterRequest message;
    *message.mutable_hello() = hello;
    return stream_->Write(message);
  }
  bool say(const v1::Heartbeat& beat) {
    v1::RegisterRequest message;
    *message.mutable_heartbeat() = beat;
    return stream_->Write(message);
  }
  bool say_nothing() { return stream_->Write(v1::RegisterRequest()); }

  // False: the line is over.
  bool hears_welcome() {
    v1::RegisterResponse response;
    return stream_->Read(&response) && response.has_welcome();
  }

  // How control ends it.
  grpc::Status wait_for_end() {
    v1::RegisterResponse response;
    while (stream_->Read(&response)) {
    }
    return stream_->Finish();
  }

 private:
  std::unique_ptr<grpc::ClientReaderWriter<v1::RegisterRequest, v1::RegisterResponse>> open() {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    return stub_->Register(&context_);
  }

  grpc::ClientContext context_;
  const std::unique_ptr<v1::Control::Stub> stub_;
  const std::unique_ptr<grpc::ClientReaderWriter<v1::RegisterRequest, v1::RegisterResponse>>
      stream_;
};

inline v1::Hello good_hello() {
  const auto folder = read_model_folder(golden_dir("moonlight"));
  CHECK(folder.ok());
  ServerFacts facts{.role = ServerRole::kExpertServer,
                    .id = "stranger",
                    .incarnation = 1,
                    .address = "127.0.0.1:1",
                    .profile = profile_of_weights(*folder->checkpoint),
                    .capacity_bytes = 1 << 20,
                    .held_bytes = 1 << 10,
                    .held = *ExpertSet::parse("1/2", folder->config)};
  v1::Hello hello;
  to_proto(facts, &hello);
  return hello;
}

inline v1::Hello good_node() {
  v1::Hello hello = good_hello();
  hello.set_role(v1::ROLE_ATTENTION_NODE);
  hello.clear_held();
  hello.mutable_profile()->set_wire_out("bf16");  // it routes by itself
  hello.mutable_profile()->set_wire_back("bf16");
  hello.set_cache_tokens(1024);
  hello.set_max_requests(8);
  return hello;
}

// Whether the gateway has a member of this name.
inline bool knows(const std::string& gateway, const std::string& id) {
  const v1::GetStatusResponse status = status_of(gateway);
  const auto is_it = [&](const auto& server) { return server.server_id() == id; };
  return std::any_of(status.nodes().begin(), status.nodes().end(), is_it) ||
         std::any_of(status.expert_servers().begin(), status.expert_servers().end(), is_it);
}

}  // namespace conclave
