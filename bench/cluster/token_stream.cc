#include "bench/cluster/token_stream.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <random>
#include <utility>

#include "common/check.h"

namespace conclave {

class TokenStreams::Stream final : public grpc::ClientReadReactor<v1::GenerateResponse> {
 public:
  Stream(TokenStreams* owner, v1::GenerateRequest request)
      : owner_(owner), request_(std::move(request)) {}

  void start(v1::Inference::Stub* stub) {
    times.sent = BenchClock::now();
    stub->async()->Generate(&context_, &request_, this);
    StartRead(&response_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    const BenchClock::time_point now = BenchClock::now();
    times.ids.insert(times.ids.end(), static_cast<size_t>(response_.delta().ids_size()), now);
    StartRead(&response_);
  }

  void OnDone(const grpc::Status& status) override {
    times.status = status;
    owner_->on_done();
  }

  TokenTimes times;

 private:
  TokenStreams* const owner_;
  const v1::GenerateRequest request_;
  v1::GenerateResponse response_;
  grpc::ClientContext context_;
};

TokenStreams::TokenStreams(const std::string& address, int32_t num_connections) {
  for (int32_t i = 0; i < num_connections; ++i) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // or all would share one connection
    stubs_.push_back(v1::Inference::NewStub(
        grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments)));
  }
}

TokenStreams::~TokenStreams() { take_all(); }

void TokenStreams::send(v1::GenerateRequest request) {
  {
    const std::lock_guard lock(mutex_);
    ++num_open_;
  }
  streams_.push_back(std::make_unique<Stream>(this, std::move(request)));
  streams_.back()->start(stubs_[streams_.size() % stubs_.size()].get());
}

int32_t TokenStreams::num_open() {
  const std::lock_guard lock(mutex_);
  return num_open_;
}

void TokenStreams::on_done() {
  const std::lock_guard lock(mutex_);
  if (--num_open_ == 0) changed_.notify_all();
}

std::vector<TokenTimes> TokenStreams::take_all() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return num_open_ == 0; });
  std::vector<TokenTimes> all;
  for (const std::unique_ptr<Stream>& stream : streams_) all.push_back(std::move(stream->times));
  streams_.clear();
  return all;
}

std::vector<int32_t> prompt_of(const RequestShape& shape) {
  CHECK(shape.num_ids > 2);
  std::mt19937_64 rng(shape.seed);
  std::uniform_int_distribution<int32_t> any_id(2, shape.num_ids - 1);
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < shape.num_prompt; ++i) ids.push_back(any_id(rng));
  return ids;
}

v1::GenerateRequest request_of(const RequestShape& shape) {
  v1::GenerateRequest request;
  const std::vector<int32_t> prompt = prompt_of(shape);
  request.mutable_ids()->mutable_ids()->Add(prompt.begin(), prompt.end());
  v1::Sampling* const sampling = request.mutable_sampling();
  sampling->set_temperature(0);
  sampling->set_max_tokens(shape.max_tokens);
  sampling->set_ignore_eos(true);
  return request;
}

}  // namespace conclave
