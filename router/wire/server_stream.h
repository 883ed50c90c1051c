// The server's end of a stream of frames, shared by the services of this folder.
//
//   client -> frame -> FrameDoor::on_frame() -> ... -> reply(frame) -> client
//
// A stream reads its next frame only while fewer than max_in_flight of its frames are between
// arrival and the end of their answer's writing. The client's further frames wait in HTTP/2's
// windows and then at the client: that is the backpressure.
//
// A reply may come from any thread, also when the stream is over; then it is dropped. A stream
// deletes itself when gRPC is done with it and its last reply has come, so it may outlive the
// service and the server, but nothing that it does then touches them.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <set>

#include "absl/status/status.h"

namespace conclave {

class ServerStream;

// What a service does with a frame.
class FrameDoor {
 public:
  using Reply = std::function<void(const grpc::ByteBuffer&)>;

  virtual ~FrameDoor() = default;

  // On gRPC's threads, one call at a time per stream; must not block. After an OK `reply` is called
  // once. Any other status says that the frame cannot be read, and ends the stream.
  virtual absl::Status on_frame(const grpc::ByteBuffer& frame, Reply reply) = 0;
};

// The streams of one service. Thread-safe. Outlives the grpc::Server.
class ServerStreams {
 public:
  struct Options {
    int32_t max_in_flight = 64;  // frames of one stream
  };

  // `door` outlives this.
  ServerStreams(FrameDoor* door, const Options& options);
  ~ServerStreams();

  // A stream that has arrived; what a service's method returns.
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* open();

  // Ends all streams with UNAVAILABLE, and every later one; with `drain` only after the frames that
  // have arrived are answered. Returns at once: num_streams() says when it is done.
  void shutdown(bool drain);

  int32_t num_streams() const;

 private:
  friend class ServerStream;

  void remove(ServerStream* stream);

  FrameDoor* const door_;
  const Options options_;

  mutable std::mutex mutex_;  // taken before a stream's own
  std::set<ServerStream*> streams_;
  bool is_stopping_ = false;
};

}  // namespace conclave
