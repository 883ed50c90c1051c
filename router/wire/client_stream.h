// One stream of frames between its start and its end. Only StreamHub uses it, on the step thread.
//
// How it ends. A read is always under way, so the end shows as a read that fails, whoever ended the
// stream. Then gRPC is asked for the status, and when it has given back all operations, the stream
// is over.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "router/wire/stream_hub.h"

namespace conclave {

class ClientStream {
 public:
  enum class Operation : uint8_t { kStart, kRead, kWrite, kFinish };

  // What gRPC gives back with an operation.
  struct Tag {
    ClientStream* stream = nullptr;
    Operation operation{};
  };

  explicit ClientStream(StreamSink* sink) : sink_(sink) {}

  ClientStream(const ClientStream&) = delete;
  ClientStream& operator=(const ClientStream&) = delete;

  // `queue` outlives this.
  void start(grpc::GenericStub* stub, const std::string& method, grpc::CompletionQueue* queue);
  void write(uint64_t sequence, const grpc::ByteBuffer& frame);
  void unwrite(uint64_t sequence);

  // Cancels it; its sink hears no more of it.
  void drop();

  // An operation is over. May call the sink's on_frame(), which may do anything but poll.
  void on_done(Operation operation, bool ok);

  // gRPC has nothing of it any more.
  bool is_over() const { return num_under_way_ == 0; }

  // is_over(): tells the sink.
  void tell_end();

 private:
  struct Outgoing {
    uint64_t sequence = 0;
    grpc::ByteBuffer frame;
  };

  void* tag(Operation operation);
  void read_next();
  void write_next();
  void finish();

  StreamSink* sink_;  // null after drop()
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
  grpc::Status status_;

  Tag tags_[4];
  int32_t num_under_way_ = 0;
  bool is_started_ = false;
  bool is_writing_ = false;
  bool is_ending_ = false;     // nothing is written any more
  grpc::ByteBuffer incoming_;  // gRPC's while a read is under way
  std::deque<Outgoing> queue_;
};

}  // namespace conclave
