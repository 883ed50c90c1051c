// What a client's request must be to be taken. Every refusal names the field and the value; limits
// are exact: the last request that fits passes, the next does not.

#include "gateway/request_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

namespace conclave {
namespace {

using testing::HasSubstr;

constexpr ClientRequestLimits kLimits = {
    .vocab_size = 50, .max_positions = 100, .serves_text = true};
constexpr int32_t kMax = std::numeric_limits<int32_t>::max();

GatewayRequest request_of(size_t num_prompt, int32_t max_tokens) {
  GatewayRequest request{.id = "r", .prompt = std::vector<int32_t>(num_prompt, 49)};
  request.sampling.max_tokens = max_tokens;
  return request;
}

// A good request with one change.
absl::Status check(const std::function<void(GatewayRequest*)>& change,
                   const ClientRequestLimits& limits = kLimits) {
  GatewayRequest request = request_of(4, 10);
  change(&request);
  return check_client_request(request, limits);
}

void expect_refused(const absl::Status& status, const std::string& words,
                    absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(words));
}

TEST(ClientRequestCheck, OrdinaryRequestsPass) {
  EXPECT_TRUE(check([](GatewayRequest*) {}).ok());
  EXPECT_TRUE(check([](GatewayRequest* r) {
                r->stops = std::vector<std::string>(16, std::string(256, 'x'));
                r->id = std::string(128, 'i');
                r->priority = -100;
              }).ok());
}

TEST(ClientRequestCheck, IdsAreOfTheModel) {
  expect_refused(check([](GatewayRequest* r) { r->prompt.clear(); }), "the prompt is empty");
  for (const int32_t id : {-1, 50, kMax}) {
    const std::string words = "id " + std::to_string(id) + " at ";
    expect_refused(check([id](GatewayRequest* r) { r->prompt[2] = id; }), words + "prompt[2]");
    expect_refused(check([id](GatewayRequest* r) { r->forced = {0, id}; }), words + "forced[1]");
  }
}

TEST(ClientRequestCheck, SamplingIsValidated) {
  expect_refused(check([](GatewayRequest* r) { r->sampling.temperature = -1; }), "temperature");
  expect_refused(check([](GatewayRequest* r) { r->sampling.max_tokens = 0; }), "max_tokens is 0");
  expect_refused(check([](GatewayRequest* r) { r->sampling.stop_ids = {50}; }), "stop_ids is 50");
}

TEST(ClientRequestCheck, ThePromptAndOneMoreFitTheContext) {
  EXPECT_TRUE(check_client_request(request_of(99, kMax), kLimits).ok());
  expect_refused(check_client_request(request_of(100, 1), kLimits),
                 "the prompt has 100 ids and the model's context is 100");
  GatewayRequest score = request_of(100, 1);
  score.score_only = true;
  EXPECT_TRUE(check_client_request(score, kLimits).ok());
  score.forced = {1};
  expect_refused(check_client_request(score, kLimits), "101 ids");
}

TEST(ClientRequestCheck, GivenIdsLeaveSomethingToDraw) {
  EXPECT_TRUE(check([](GatewayRequest* r) { r->forced.assign(9, 0); }).ok());
  expect_refused(check([](GatewayRequest* r) { r->forced.assign(10, 0); }),
                 "10 generated or forced ids leave nothing to draw within max_tokens 10");
}

TEST(ClientRequestCheck, NamesAndPrioritiesAreBounded) {
  expect_refused(check([](GatewayRequest* r) { r->id = ""; }), "request_id is empty");
  expect_refused(check([](GatewayRequest* r) { r->id = "a\r\nb"; }), "request_id is \"a\\r\\nb\"");
  expect_refused(check([](GatewayRequest* r) { r->id = std::string(129, 'i'); }), "129 bytes");
  expect_refused(check([](GatewayRequest* r) { r->priority = 101; }), "priority is 101");
  expect_refused(check([](GatewayRequest* r) { r->priority = -101; }), "priority is -101");
  expect_refused(
      check([](GatewayRequest* r) { r->priority = std::numeric_limits<int32_t>::min(); }),
      "priority is -2147483648");
}

TEST(ClientRequestCheck, StopStringsAreFewAndShort) {
  expect_refused(check([](GatewayRequest* r) { r->stops.assign(17, "x"); }),
                 "the number of stop strings is 17");
  expect_refused(check([](GatewayRequest* r) {
                   r->stops = {"a", ""};
                 }),
                 "stop[1] is \"\", 0 bytes");
  expect_refused(check([](GatewayRequest* r) { r->stops = {std::string(257, 'x')}; }),
                 "257 bytes, must be of 1 to 256 bytes");
}

TEST(ClientRequestCheck, TextNeedsATokenizer) {
  ClientRequestLimits ids_only = kLimits;
  ids_only.serves_text = false;
  const auto code = absl::StatusCode::kFailedPrecondition;
  expect_refused(check([](GatewayRequest*) {}, ids_only), "tokenizer.json", code);
  expect_refused(
      check([](GatewayRequest* r) { r->wants_text = false, r->stops = {"x"}; }, ids_only),
      "stop strings need a tokenizer", code);
  EXPECT_TRUE(check([](GatewayRequest* r) { r->wants_text = false; }, ids_only).ok());
}

TEST(Longest, IsWhatIsComputed) {
  EXPECT_EQ(longest(request_of(4, 10), 100), 13);  // the last id drawn is not
  EXPECT_EQ(longest(request_of(4, kMax), 100), 99);
  EXPECT_EQ(longest(request_of(99, 5), 100), 99);
  GatewayRequest score = request_of(7, 10);
  score.forced = {1, 2};
  score.score_only = true;
  EXPECT_EQ(longest(score, 100), 9);
}

}  // namespace
}  // namespace conclave
