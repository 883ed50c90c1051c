// One stream of Control.Register as gRPC's callbacks see it; only ControlClient uses it.
//
// gRPC's threads put what comes into this object and wake the client's thread; all that follows
// from it happens there. A hold keeps the stream from being finished while that thread may write;
// it is let go when a read fails, which is how the end is noticed.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "proto/control.grpc.pb.h"

namespace conclave {

class ControlLine final
    : public grpc::ClientBidiReactor<v1::RegisterRequest, v1::RegisterResponse> {
 public:
  // Both outlive this; the mutex also guards this object's state.
  ControlLine(std::mutex* mutex, std::condition_variable* changed)
      : mutex_(mutex), changed_(changed) {}

  // Starts the stream, which connects in the background. Without the mutex.
  void start(v1::Control::Stub* stub);

  // All of these with the mutex. The object may only be destroyed once there is an end().
  bool can_write() const { return is_open_ && !is_writing_; }
  void write(v1::RegisterRequest message);  // REQUIRES: can_write()
  void close();                             // REQUIRES: can_write(); no more comes after
  void cancel() { context_.TryCancel(); }
  bool has_news() const { return !incoming_.empty() || end_.has_value(); }
  std::optional<v1::RegisterResponse> take();
  const std::optional<grpc::Status>& end() const { return end_; }

  // gRPC's threads.
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

 private:
  std::mutex* const mutex_;
  std::condition_variable* const changed_;
  grpc::ClientContext context_;
  v1::RegisterRequest outgoing_;   // gRPC's while is_writing_
  v1::RegisterResponse arriving_;  // gRPC's
  std::deque<v1::RegisterResponse> incoming_;
  std::optional<grpc::Status> end_;
  bool is_open_ = true;  // with a hold: writes may be started
  bool is_writing_ = false;
};

}  // namespace conclave
