// Calls of methods whose messages this project has no code for: one message there, one back.
#pragma once

#include <grpcpp/completion_queue.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/byte_buffer.h>

#include <chrono>
#include <string>
#include <vector>

namespace conclave {

struct RawAnswer {
  grpc::Status status;
  std::string message;
};

inline std::string bytes_of(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok()) return "";
  std::string bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

inline RawAnswer raw_call(const std::string& address, const std::string& method,
                          const std::string& message) {
  grpc::GenericStub stub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  grpc::CompletionQueue queue;
  // One operation at a time: whatever comes next from the queue is its end.
  const auto step = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  const auto call = stub.PrepareCall(&context, method, &queue);
  RawAnswer answer;
  grpc::ByteBuffer arrived;
  call->StartCall(nullptr);
  if (step()) {
    const grpc::Slice slice(message);
    call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
    step();
    call->Read(&arrived, nullptr);
    if (step()) answer.message = bytes_of(arrived);
  }
  call->Finish(&answer.status, nullptr);
  step();
  return answer;
}

// grpc.health.v1: "SERVING", "NOT_SERVING", or the status' message.
inline std::string health(const std::string& address, const std::string& service) {
  std::string request;
  if (!service.empty()) {
    request = std::string("\x0a") + static_cast<char>(service.size()) + service;
  }
  const RawAnswer answer = raw_call(address, "/grpc.health.v1.Health/Check", request);
  if (!answer.status.ok()) return answer.status.error_message();
  if (answer.message == "\x08\x01") return "SERVING";
  return answer.message == "\x08\x02" ? "NOT_SERVING" : "unknown";
}

}  // namespace conclave
