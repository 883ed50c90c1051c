// A grpc::Server on 127.0.0.1 for one service, and what tests of streams need besides.
#pragma once

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <memory>
#include <string>

#include "common/check.h"
#include "router/wire/grpc_handoff.h"
#include "router/wire/wire_limits.h"

namespace conclave {

class WireServer {
 public:
  // `service` outlives this. Port 0 is any free one.
  explicit WireServer(grpc::Service* service, int port = 0) : port_(port) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:" + std::to_string(port), grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(service);
    apply_wire_limits(&builder);
    server_ = builder.BuildAndStart();
    CHECK(server_ != nullptr);
    CHECK(port_ != 0);
  }
  ~WireServer() { stop(); }

  // Breaks all streams. The port is free afterwards.
  void stop() {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now());
    take_all_from_grpc();
    server_.reset();
  }

  int port() const { return port_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace conclave
