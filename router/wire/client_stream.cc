#include "router/wire/client_stream.h"

#include <utility>

#include "router/wire/grpc_status.h"

namespace conclave {

void ClientStream::start(grpc::GenericStub* stub, const std::string& method,
                         grpc::CompletionQueue* queue) {
  call_ = stub->PrepareCall(&context_, method, queue);
  call_->StartCall(tag(Operation::kStart));
}

void ClientStream::write(uint64_t sequence, const grpc::ByteBuffer& frame) {
  if (is_ending_) return;  // its end is on its way, behind answers that came in time
  queue_.push_back({sequence, frame});
  write_next();
}

void ClientStream::unwrite(uint64_t sequence) {
  std::erase_if(queue_, [&](const Outgoing& waiting) { return waiting.sequence == sequence; });
}

void ClientStream::drop() {
  sink_ = nullptr;
  queue_.clear();
  context_.TryCancel();
}

void ClientStream::on_done(Operation operation, bool ok) {
  --num_under_way_;
  switch (operation) {
    case Operation::kStart:
      is_started_ = true;
      if (!ok) return finish();
      read_next();
      return write_next();
    case Operation::kRead: {
      if (!ok) return finish();
      const grpc::ByteBuffer frame = std::exchange(incoming_, {});
      read_next();
      if (sink_ != nullptr) sink_->on_frame(frame);
      return;
    }
    case Operation::kWrite:
      is_writing_ = false;
      if (!ok) queue_.clear();  // the stream is broken, and the read under way will say how
      return write_next();
    case Operation::kFinish:
      return;
  }
}

void ClientStream::tell_end() {
  if (sink_ != nullptr) sink_->on_end(from_grpc(status_));
}

void* ClientStream::tag(Operation operation) {
  Tag& tag = tags_[static_cast<size_t>(operation)];
  tag = {this, operation};
  ++num_under_way_;
  return &tag;
}

void ClientStream::read_next() { call_->Read(&incoming_, tag(Operation::kRead)); }

void ClientStream::write_next() {
  if (!is_started_ || is_writing_ || is_ending_ || queue_.empty()) return;
  is_writing_ = true;
  const grpc::ByteBuffer frame = std::move(queue_.front().frame);
  queue_.pop_front();
  call_->Write(frame, tag(Operation::kWrite));
}

void ClientStream::finish() {
  is_ending_ = true;
  queue_.clear();
  call_->Finish(&status_, tag(Operation::kFinish));
}

}  // namespace conclave
