// A control role that lets in, refuses or goes away as a test says, and remembers what it was told.
#pragma once

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/check.h"
#include "proto/control.grpc.pb.h"

namespace conclave {

class FakeControl final : public v1::Control::Service {
 public:
  ~FakeControl() override { stop(); }

  // Listens; a stopped one may start again, on the same port.
  void start() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:" + std::to_string(port_),
                             grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    CHECK(server_ != nullptr);
    CHECK(port_ != 0);
  }
  void stop() {
    if (server_ == nullptr) return;
    with_lock([this] { is_stopping_ = true; });
    server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
    with_lock([this] { is_stopping_ = false; });
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  // What the next hellos are answered with; OK lets in.
  void answer(grpc::Status status) {
    with_lock([&] { answer_ = std::move(status); });
  }
  // In milliseconds, from the next welcome on.
  void set_heartbeat(int32_t interval_ms) {
    with_lock([&] { heartbeat_ms_ = interval_ms; });
  }
  // Once the next heartbeat is read, no other is until go_on().
  void stop_reading() {
    with_lock([this] { reads_ = false; });
  }
  void go_on() {
    with_lock([this] { reads_ = true; });
  }
  void say_goodbye() {
    with_lock([this] { says_goodbye_ = true; });
  }
  void publish(v1::PlacementUpdate update) {
    with_lock([&] { placements_.push_back(std::move(update)); });
  }

  std::vector<v1::Hello> hellos() const { return copy(hellos_); }
  std::vector<v1::Heartbeat> heartbeats() const { return copy(heartbeats_); }
  int num_lines() const { return copy(num_lines_); }

  // Blocks until `condition` of the above, up to a minute.
  bool eventually(const std::function<bool()>& condition) const {
    const auto until = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, std::chrono::milliseconds(5));
    }
    return true;
  }

 private:
  using RegisterStream = grpc::ServerReaderWriter<v1::RegisterResponse, v1::RegisterRequest>;

  // NOLINTNEXTLINE(readability-identifier-naming): a door of gRPC
  grpc::Status Register(grpc::ServerContext* /*context*/, RegisterStream* stream) override {
    v1::RegisterRequest request;
    if (!stream->Read(&request) || !request.has_hello()) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "no hello"};
    }
    grpc::Status answer;
    with_lock([&] {
      hellos_.push_back(request.hello());
      answer = answer_;
      if (answer.ok()) ++num_lines_;
    });
    if (!answer.ok()) return answer;
    v1::RegisterResponse welcome;
    welcome.mutable_welcome()->set_server_no(7);
    welcome.mutable_welcome()->set_heartbeat_ms(copy(heartbeat_ms_));
    stream->Write(welcome);
    while (stream->Read(&request)) on_heartbeat(request.heartbeat(), stream);
    with_lock([this] { --num_lines_; });
    return grpc::Status::OK;
  }

  void on_heartbeat(const v1::Heartbeat& beat, RegisterStream* stream) {
    bool says_goodbye = false;
    with_lock([&] {
      heartbeats_.push_back(beat);
      says_goodbye = says_goodbye_ && beat.draining();
    });
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return reads_ || is_stopping_; });
    }
    if (!says_goodbye) return;
    v1::RegisterResponse goodbye;
    goodbye.mutable_goodbye();
    stream->Write(goodbye);
  }

  // NOLINTNEXTLINE(readability-identifier-naming): a door of gRPC
  grpc::Status WatchPlacement(grpc::ServerContext* context, const v1::WatchPlacementRequest*,
                              grpc::ServerWriter<v1::PlacementUpdate>* stream) override {
    size_t num_told = 0;
    std::unique_lock lock(mutex_);
    while (!is_stopping_ && !context->IsCancelled()) {
      while (num_told < placements_.size()) stream->Write(placements_[num_told++]);
      changed_.wait_for(lock, std::chrono::milliseconds(5));
    }
    return grpc::Status::OK;
  }

  template <typename Action>
  void with_lock(const Action& action) {
    const std::lock_guard lock(mutex_);
    action();
    changed_.notify_all();
  }
  template <typename Value>
  Value copy(const Value& value) const {
    const std::lock_guard lock(mutex_);
    return value;
  }

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  grpc::Status answer_;
  int32_t heartbeat_ms_ = 20;
  bool reads_ = true;
  bool says_goodbye_ = false;
  bool is_stopping_ = false;
  std::vector<v1::PlacementUpdate> placements_;
  std::vector<v1::Hello> hellos_;
  std::vector<v1::Heartbeat> heartbeats_;
  int num_lines_ = 0;  // open now
};

}  // namespace conclave
