// The client's ends of streams, all on one thread, which does gRPC's work itself: poll() and wait()
// look at the sockets, read what has come and give it to the sinks. So a frame costs one wake-up,
// of the thread that waits for it, instead of one of gRPC's threads and then that one.
//
// Nothing moves between two calls: while the step thread computes, answers wait in the kernel, and
// of a frame that is larger than its buffers the rest waits here. Connections that have broken are
// noticed at the next call.
//
// A stream belongs to its hub from open() to its end, which is when gRPC has given back all of its
// operations: the hub's destructor cancels all streams and waits for that.
#pragma once

#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"

namespace conclave {

class ClientStream;

// Whom a stream's frames are for. Called by poll() and wait(); may write to streams and drop them,
// its own as well.
class StreamSink {
 public:
  virtual ~StreamSink() = default;

  virtual void on_frame(const grpc::ByteBuffer& frame) = 0;

  // The stream is over and gone; gRPC's status, or OK when the server ended it so.
  virtual void on_end(const absl::Status& status) = 0;
};

class StreamHub {
 public:
  // `clock` outlives this.
  explicit StreamHub(const Clock* clock);
  ~StreamHub();

  StreamHub(const StreamHub&) = delete;
  StreamHub& operator=(const StreamHub&) = delete;

  // Starts a stream; what is written before it is connected waits. `sink` outlives the stream or
  // drops it.
  ClientStream* open(grpc::GenericStub* stub, const std::string& method, StreamSink* sink);

  // Sends a frame after those before it. `sequence` is for unwrite() only.
  void write(ClientStream* stream, uint64_t sequence, const grpc::ByteBuffer& frame);

  // Takes a frame back that gRPC has not got yet, so that a server that hangs does not pile up the
  // legs that were given up.
  void unwrite(ClientStream* stream, uint64_t sequence);

  // Cancels a stream; its sink hears no more of it.
  void drop(ClientStream* stream);

  // Does all that there is to do.
  void poll();

  // Blocks until something has moved, which need not be a frame, or until `until` on the clock:
  // false.
  bool wait(absl::Time until);

 private:
  bool take_one(absl::Duration patience);

  const Clock* const clock_;
  grpc::CompletionQueue queue_;
  std::vector<std::unique_ptr<ClientStream>> streams_;
};

}  // namespace conclave
