// One stream of frames as gRPC's callbacks see it. Only StreamHub uses it; what is shared with
// gRPC's threads is guarded by the hub's mutex.
//
// How it ends. A hold keeps gRPC from finishing the stream while the step thread may still start
// writes and reads. It is let go when a read fails, which is how the end is noticed, or when the
// stream is cancelled with no read under way. gRPC then calls OnDone() after all other callbacks;
// the hub learns of it through the queue and deletes the stream on the step thread, so that neither
// channel nor call is freed inside a callback.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/client_callback.h>

#include <cstdint>
#include <deque>
#include <string>

#include "router/wire/stream_hub.h"

namespace conclave {

class ClientStream final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  // `hub` outlives this.
  ClientStream(StreamHub* hub, int32_t max_unread, StreamSink* sink)
      : hub_(hub), max_unread_(max_unread), sink_(sink) {}

  // The step thread. `sink()` is null after drop().
  void start(grpc::GenericStub* stub, const std::string& method);
  void write(uint64_t sequence, const grpc::ByteBuffer& frame);
  void unwrite(uint64_t sequence);
  void cancel();
  void drop_sink() { sink_ = nullptr; }
  StreamSink* sink() const { return sink_; }

  // The step thread, with the mutex: a frame of this stream has left the queue.
  void on_taken();

  // gRPC's threads.
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

 private:
  struct Outgoing {
    uint64_t sequence = 0;
    grpc::ByteBuffer frame;
  };

  // All of these with the mutex.
  void read_next();
  void write_next();
  void let_go();

  StreamHub* const hub_;
  const int32_t max_unread_;
  StreamSink* sink_;  // of the step thread

  grpc::ClientContext context_;
  grpc::ByteBuffer incoming_;  // gRPC's while is_reading_
  grpc::ByteBuffer outgoing_;  // gRPC's while is_writing_
  std::deque<Outgoing> queue_;
  int32_t num_unread_ = 0;  // frames of this stream in the hub's queue
  bool is_reading_ = false;
  bool is_writing_ = false;
  bool is_cancelled_ = false;
  bool is_held_ = false;
};

}  // namespace conclave
