// What attention nodes make of bad runs, and gateways of bad requests, over the wire (contract C5):
// each its status, and the next good one is answered.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "proto/attention.grpc.pb.h"
#include "services/server/request_codec.h"
#include "tests/cluster/sturdy_cluster.h"
#include "tests/services/server/raw_call.h"

namespace conclave {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;

v1::RunRequest good_run(int32_t max_tokens = 3) {
  v1::RunRequest run;
  run.set_request_id("test");
  for (const int32_t id : {5, 6, 7}) run.add_prompt(id);
  SamplingParams sampling;
  sampling.temperature = 0;
  sampling.max_tokens = max_tokens;
  to_proto(sampling, run.mutable_sampling());
  return run;
}

struct RunEnd {
  grpc::Status status;
  int num_ids = 0;
};

// One call, begun; wait() reads it to its end.
class RunCall {
 public:
  RunCall(v1::Attention::Stub* stub, const v1::RunRequest& run) {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    stream_ = stub->Run(&context_, run);
  }

  RunEnd wait() {
    RunEnd end;
    for (v1::RunResponse response; stream_->Read(&response);) end.num_ids += response.ids_size();
    end.status = stream_->Finish();
    return end;
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::RunResponse>> stream_;
};

class BadRunsTest : public SturdyCluster {
 protected:
  static void SetUpTestSuite() {
    LocalCluster::Options options = cluster_of(golden_dir("moonlight"), 1, 1);
    options.node_flags = {"--threads=1", "--cache-tokens=128", "--max-running=1",
                          "--max-requests=2"};
    start(std::move(options));
  }

  BadRunsTest()
      : stub_(v1::Attention::NewStub(channel_to(address_of(ClusterRole::kAttentionNode, 0)))) {}

  struct Case {
    std::function<void(v1::RunRequest*)> spoil;
    StatusCode code;
    const char* word;
  };

  RunEnd run(const v1::RunRequest& request) { return RunCall(stub_.get(), request).wait(); }

  // Each gets its status and no id, and a good run after it gets all of its own.
  void expect_refused(const std::vector<Case>& cases) {
    for (const Case& c : cases) {
      v1::RunRequest request = good_run();
      c.spoil(&request);
      const RunEnd end = run(request);
      EXPECT_EQ(end.status.error_code(), c.code) << c.word << ": " << end.status.error_message();
      EXPECT_THAT(end.status.error_message(), HasSubstr(c.word));
      EXPECT_EQ(end.num_ids, 0) << c.word;
      EXPECT_EQ(run(good_run()).num_ids, 3) << c.word;
    }
  }

  const std::unique_ptr<v1::Attention::Stub> stub_;
};

TEST_F(BadRunsTest, IdsThatCannotBe) {
  expect_refused({
      {[](auto* run) { run->Clear(); }, StatusCode::INVALID_ARGUMENT, "prompt is empty"},
      {[](auto* run) { run->clear_prompt(); }, StatusCode::INVALID_ARGUMENT, "prompt is empty"},
      {[](auto* run) { run->set_prompt(1, 320); }, StatusCode::INVALID_ARGUMENT,
       "id 320 at prompt[1]"},
      {[](auto* run) { run->set_prompt(0, -1); }, StatusCode::INVALID_ARGUMENT,
       "id -1 at prompt[0]"},
      {[](auto* run) { run->add_generated(INT32_MAX); }, StatusCode::INVALID_ARGUMENT,
       "at generated[0]"},
      {[](auto* run) { run->add_forced(INT32_MIN); }, StatusCode::INVALID_ARGUMENT, "at forced[0]"},
      {[](auto* run) {
         run->add_generated(1);
         run->add_forced(1);
       },
       StatusCode::INVALID_ARGUMENT, "not both"},
      {[](auto* run) {
         for (int i = 0; i < 3; ++i) run->add_generated(9);
       },
       StatusCode::INVALID_ARGUMENT, "leave nothing to draw"},
      {[](auto* run) {
         for (int i = 0; i < 256; ++i) run->add_prompt(9);
       },
       StatusCode::INVALID_ARGUMENT, "context is 256"},
      {[](auto* run) {
         for (int i = 0; i < 1'000'000; ++i) run->add_prompt(9);
       },
       StatusCode::INVALID_ARGUMENT, "1000003 ids"},
      {[](auto* run) {
         for (int i = 0; i < 150; ++i) run->add_prompt(9);
       },
       StatusCode::RESOURCE_EXHAUSTED, "the whole cache holds 128"},
  });
}

TEST_F(BadRunsTest, SamplingThatCannotBe) {
  const auto sampling = [](v1::RunRequest* run) { return run->mutable_sampling(); };
  expect_refused({
      {[](auto* run) { run->clear_sampling(); }, StatusCode::INVALID_ARGUMENT, "top_p"},
      {[&](auto* run) { sampling(run)->set_max_tokens(0); }, StatusCode::INVALID_ARGUMENT,
       "max_tokens is 0"},
      {[&](auto* run) { sampling(run)->set_min_tokens(4); }, StatusCode::INVALID_ARGUMENT,
       "min_tokens is 4"},
      {[&](auto* run) { sampling(run)->set_temperature(NAN); }, StatusCode::INVALID_ARGUMENT,
       "temperature is nan"},
      {[&](auto* run) { sampling(run)->set_min_p(-INFINITY); }, StatusCode::INVALID_ARGUMENT,
       "min_p is -inf"},
      {[&](auto* run) { sampling(run)->set_top_k(-1); }, StatusCode::INVALID_ARGUMENT, "top_k"},
      {[&](auto* run) { sampling(run)->set_num_logprobs(21); }, StatusCode::INVALID_ARGUMENT,
       "num_logprobs is 21"},
      {[&](auto* run) { sampling(run)->set_prompt_logprobs(true); }, StatusCode::INVALID_ARGUMENT,
       "prompt_logprobs"},
      {[&](auto* run) { sampling(run)->add_stop_ids(320); }, StatusCode::INVALID_ARGUMENT,
       "stop_ids is 320"},
      {[&](auto* run) { sampling(run)->add_logit_bias()->set_id(-2); },
       StatusCode::INVALID_ARGUMENT, "logit_bias is -2"},
  });
}

TEST_F(BadRunsTest, AnyPriorityIsTaken) {
  for (const int32_t priority : {INT32_MIN, -1, INT32_MAX}) {
    v1::RunRequest request = good_run();
    request.set_priority(priority);
    EXPECT_EQ(run(request).num_ids, 3) << priority;
  }
}

TEST_F(BadRunsTest, MoreThanTheNodeTakesAreRefusedAndTheOthersAnswered) {
  std::vector<std::unique_ptr<RunCall>> calls;
  for (int i = 0; i < 40; ++i) {
    calls.push_back(std::make_unique<RunCall>(stub_.get(), good_run(/*max_tokens=*/100)));
  }
  int num_refused = 0;
  for (const auto& call : calls) {
    const RunEnd end = call->wait();
    if (end.status.ok()) {
      EXPECT_EQ(end.num_ids, 100);
      continue;
    }
    EXPECT_EQ(end.status.error_code(), StatusCode::RESOURCE_EXHAUSTED)
        << end.status.error_message();
    ++num_refused;
  }
  EXPECT_GT(num_refused, 0);
  EXPECT_LT(num_refused, 40);
}

// The callback API of gRPC has this one answer to bytes that cannot be parsed.
TEST_F(BadRunsTest, BytesThatAreNoMessageAreRefused) {
  const RawAnswer answer = raw_call(address_of(ClusterRole::kAttentionNode, 0),
                                    "/conclave.v1.Attention/Run", std::string(100, '\xff'));
  EXPECT_EQ(answer.status.error_code(), StatusCode::UNIMPLEMENTED);
}

class BadRequestsTest : public SturdyCluster {
 protected:
  static void SetUpTestSuite() { start(cluster_of(golden_dir("bard"), 1, 1)); }

  static void expect_refused(const v1::GenerateRequest& request, StatusCode code,
                             const std::string& word) {
    const Generated answer = generate(address(), request);
    EXPECT_EQ(answer.status.error_code(), code) << word << ": " << answer.status.error_message();
    EXPECT_THAT(answer.status.error_message(), HasSubstr(word));
  }
};

v1::GenerateRequest good_request() {
  v1::GenerateRequest request;
  request.set_text("To be, or not");
  request.mutable_sampling()->set_max_tokens(3);
  return request;
}

TEST_F(BadRequestsTest, EveryWrongRequestGetsItsStatus) {
  const struct {
    std::function<void(v1::GenerateRequest*)> spoil;
    StatusCode code;
    const char* word;
  } cases[] = {
      {[](auto* request) { request->set_model("other"); }, StatusCode::NOT_FOUND, "\"other\""},
      {[](auto* request) { request->set_request_id(std::string("a\0b", 3)); },
       StatusCode::INVALID_ARGUMENT, "request_id is \"a\\x00"},
      {[](auto* request) { request->set_request_id(std::string(129, 'a')); },
       StatusCode::INVALID_ARGUMENT, "129 bytes"},
      {[](auto* request) { request->clear_text(); }, StatusCode::INVALID_ARGUMENT, "neither text"},
      {[](auto* request) { request->set_text(""); }, StatusCode::INVALID_ARGUMENT, "empty"},
      {[](auto* request) { request->set_text(std::string("a\0b", 3)); },
       StatusCode::INVALID_ARGUMENT, "NUL at byte 1"},
      {[](auto* request) { request->set_text(std::string(9 << 20, 'a')); },
       StatusCode::INVALID_ARGUMENT, "9437184 bytes, the limit is 8388608"},
      {[](auto* request) { request->mutable_ids(); }, StatusCode::INVALID_ARGUMENT, "empty"},
      {[](auto* request) { request->mutable_ids()->mutable_ids()->Resize(1'000'000, 7); },
       StatusCode::INVALID_ARGUMENT, "1000000 ids"},
      {[](auto* request) { request->mutable_ids()->add_ids(2048); }, StatusCode::INVALID_ARGUMENT,
       "id 2048 at prompt[0]"},
      {[](auto* request) {
         for (int i = 0; i < 100'000; ++i) *request->add_stop() = std::string(1, 'x');
       },
       StatusCode::INVALID_ARGUMENT, "stop strings is 100000"},
      {[](auto* request) { request->add_stop(std::string(257, 'x')); },
       StatusCode::INVALID_ARGUMENT, "257 bytes"},
      {[](auto* request) { request->set_priority(INT32_MIN); }, StatusCode::INVALID_ARGUMENT,
       "priority is -2147483648"},
      {[](auto* request) { request->mutable_sampling()->set_top_p(NAN); },
       StatusCode::INVALID_ARGUMENT, "top_p is nan"},
      {[](auto* request) { request->mutable_sampling()->set_max_tokens(0); },
       StatusCode::INVALID_ARGUMENT, "max_tokens is 0"},
  };
  for (const auto& c : cases) {
    v1::GenerateRequest request = good_request();
    c.spoil(&request);
    expect_refused(request, c.code, c.word);
    EXPECT_TRUE(generate(address(), good_request()).status.ok()) << c.word;
  }
}

// A string of protobuf's is UTF-8, or the message cannot be parsed.
TEST_F(BadRequestsTest, TextThatIsNotUtf8IsRefused) {
  const RawAnswer answer =
      raw_call(address(), "/conclave.v1.Inference/Generate", std::string("\x1a\x02\xff\xfe"));
  EXPECT_EQ(answer.status.error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(answer.message, "");
}

}  // namespace
}  // namespace conclave
