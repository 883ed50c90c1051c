// The client's ends of streams, and the one place where what gRPC's threads bring is handed to the
// step thread.
//
// gRPC's threads only put frames and ends of streams into one queue. poll() takes them out and
// gives each to its stream's sink, so that all logic, decoding included, runs on the step thread.
// A stream stops reading while max_unread of its frames wait in the queue.
//
// The step thread sleeps on a doorbell, its hub's own or one that others ring as well.
//
// One thread calls everything here. A stream belongs to its hub from open() to its end, which is
// after the last of gRPC's callbacks: the hub's destructor cancels all streams and waits for that.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/doorbell.h"

namespace conclave {

class ClientStream;

// Whom a stream's frames are for. Called by poll(), on the step thread.
class StreamSink {
 public:
  virtual ~StreamSink() = default;

  virtual void on_frame(const grpc::ByteBuffer& frame) = 0;

  // The stream is over and gone; gRPC's status, or OK when the server ended it so.
  virtual void on_end(const absl::Status& status) = 0;
};

class StreamHub {
 public:
  // `clock` outlives this, and so does `bell`; null: the hub's own.
  explicit StreamHub(const Clock* clock, Doorbell* bell = nullptr);
  ~StreamHub();

  StreamHub(const StreamHub&) = delete;
  StreamHub& operator=(const StreamHub&) = delete;

  // Starts a stream; it connects in the background and what is written meanwhile waits. `sink`
  // outlives the stream or drops it.
  ClientStream* open(grpc::GenericStub* stub, const std::string& method, int32_t max_unread,
                     StreamSink* sink);

  // Sends a frame after those before it. `sequence` is for unwrite() only.
  void write(ClientStream* stream, uint64_t sequence, const grpc::ByteBuffer& frame);

  // Takes a frame back that gRPC has not got yet, so that a server that hangs does not pile up the
  // legs that were given up.
  void unwrite(ClientStream* stream, uint64_t sequence);

  // Cancels a stream; its sink hears no more of it.
  void drop(ClientStream* stream);

  // Hands out all that has arrived.
  void poll();

  // Blocks until there is something for poll(), or until `until` on the clock: false.
  bool wait(absl::Time until);

  Doorbell* bell() { return bell_; }

 private:
  friend class ClientStream;

  // A frame, or the end of a stream.
  struct Event {
    ClientStream* stream = nullptr;
    std::optional<grpc::ByteBuffer> frame;
    absl::Status end;
  };

  std::optional<Event> next_event();
  bool has_events();

  const Clock* const clock_;
  std::vector<std::unique_ptr<ClientStream>> streams_;  // of the step thread

  DoorbellWord own_word_;
  Doorbell own_bell_{&own_word_};
  Doorbell* const bell_;

  std::mutex mutex_;          // also of the streams' own state
  std::deque<Event> events_;  // whoever adds to them rings
};

}  // namespace conclave
