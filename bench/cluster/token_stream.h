// Requests to a gateway that note when each id came. gRPC's callback threads do all the work of the
// waiting side, so a thousand streams cost no more threads than one.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "proto/inference.grpc.pb.h"

namespace conclave {

using BenchClock = std::chrono::steady_clock;

// What a stream said, once it is over.
struct TokenTimes {
  BenchClock::time_point sent;
  std::vector<BenchClock::time_point> ids;  // one per id
  grpc::Status status;
};

// A few connections to one gateway and the streams on them. One thread calls it.
class TokenStreams {
 public:
  explicit TokenStreams(const std::string& address, int32_t num_connections = 2);
  ~TokenStreams();  // waits for all

  TokenStreams(const TokenStreams&) = delete;
  TokenStreams& operator=(const TokenStreams&) = delete;

  void send(v1::GenerateRequest request);

  int32_t num_open();

  // Waits until all have ended, and gives and forgets their times in the order of sending.
  std::vector<TokenTimes> take_all();

 private:
  class Stream;

  void on_done();

  std::vector<std::unique_ptr<v1::Inference::Stub>> stubs_;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int32_t num_open_ = 0;
};

// A greedy request of `num_prompt` ids that generates `max_tokens`, whatever it says. The ids
// depend on `seed` alone.
struct RequestShape {
  int32_t num_prompt = 0;
  int32_t max_tokens = 0;
  int32_t num_ids = 0;  // of the model
  uint64_t seed = 0;
};
std::vector<int32_t> prompt_of(const RequestShape& shape);
v1::GenerateRequest request_of(const RequestShape& shape);

}  // namespace conclave
