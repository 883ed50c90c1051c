// What a request must be to be taken. Every refusal names the field and the value: INVALID_ARGUMENT
// for what no node could run, RESOURCE_EXHAUSTED for what is longer than this node's whole cache.
// Limits are exact: the last request that fits passes, the next does not.

#include "attention/request_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace conclave {
namespace {

using testing::HasSubstr;

constexpr RequestLimits kLimits = {.vocab_size = 50, .max_positions = 100, .cache_tokens = 64};
constexpr int32_t kMax = std::numeric_limits<int32_t>::max();

Request request_of(int32_t num_prompt, int32_t max_tokens, int32_t num_forced = 0) {
  Request request{.prompt = std::vector<int32_t>(num_prompt, 49),
                  .forced = std::vector<int32_t>(num_forced, 0)};
  request.sampling.max_tokens = max_tokens;
  return request;
}

void expect_refused(const Request& request, absl::StatusCode code, const std::string& words,
                    const RequestLimits& limits = kLimits) {
  const absl::Status status = check_request(request, limits);
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(words));
}

void expect_invalid(const Request& request, const std::string& words) {
  expect_refused(request, absl::StatusCode::kInvalidArgument, words);
}

void expect_taken(const Request& request, const RequestLimits& limits = kLimits) {
  EXPECT_TRUE(check_request(request, limits).ok()) << check_request(request, limits);
}

TEST(RequestCheck, OrdinaryRequestsPass) {
  expect_taken(request_of(1, 1));
  expect_taken(request_of(10, 20, 5));
  Request request = request_of(3, 4);
  request.sampling.stop_ids = {0, 49};
  request.sampling.logit_bias = {{0, -100.f}, {49, 100.f}};
  expect_taken(request);
}

TEST(RequestCheck, APromptHasAnId) { expect_invalid(request_of(0, 5), "prompt is empty"); }

TEST(RequestCheck, IdsAreOfTheModel) {
  for (const int32_t id : {-1, 50, kMax, std::numeric_limits<int32_t>::min()}) {
    Request request = request_of(4, 10, 3);
    request.prompt[2] = id;
    expect_invalid(request, "id " + std::to_string(id) + " at prompt[2]");

    request = request_of(4, 10, 3);
    request.forced[1] = id;
    expect_invalid(request, "id " + std::to_string(id) + " at forced[1]");

    request = request_of(4, 10);
    request.sampling.stop_ids = {0, id};
    expect_invalid(request, "stop_ids is " + std::to_string(id));

    request = request_of(4, 10);
    request.sampling.logit_bias = {{id, 1.f}};
    expect_invalid(request, "logit_bias is " + std::to_string(id));
  }
}

TEST(RequestCheck, SamplingIsValidated) {
  Request request = request_of(4, 10);
  request.sampling.temperature = std::numeric_limits<float>::quiet_NaN();
  expect_invalid(request, "temperature");
  expect_invalid(request_of(4, 0), "max_tokens");
  expect_invalid(request_of(4, -5), "max_tokens");
}

TEST(RequestCheck, ForcedIdsLeaveOneToDraw) {
  expect_taken(request_of(4, 10, 9));
  expect_invalid(request_of(4, 10, 10), "10 generated or forced ids");
  expect_invalid(request_of(4, 10, 11), "max_tokens 10");
  Request request = request_of(4, 10, 11);
  request.score_only = true;  // nothing is drawn
  expect_taken(request);
}

TEST(RequestCheck, TheContextHoldsPromptForcedAndADraw) {
  constexpr RequestLimits kAmple = {.vocab_size = 50, .max_positions = 100, .cache_tokens = 200};
  const auto too_long = absl::StatusCode::kInvalidArgument;
  expect_taken(request_of(99, 1), kAmple);
  expect_refused(request_of(100, 1), too_long, "100 ids", kAmple);
  expect_taken(request_of(90, 10, 9), kAmple);
  expect_refused(request_of(91, 10, 9), too_long, "context is 100", kAmple);

  Request scored = request_of(100, 1);
  scored.score_only = true;
  expect_taken(scored, kAmple);
  scored.forced = {1};
  expect_refused(scored, too_long, "101 ids", kAmple);
}

TEST(RequestCheck, TheCacheHoldsTheWholeRequest) {
  const auto exhausted = absl::StatusCode::kResourceExhausted;
  expect_taken(request_of(45, 20));  // the last id drawn is never computed
  expect_refused(request_of(46, 20), exhausted, "65 ids");
  expect_refused(request_of(46, 20), exhausted, "holds 64");
  expect_refused(request_of(1, kMax), exhausted, "99 ids");  // it ends with the context
  expect_refused(request_of(99, kMax), exhausted, "99 ids");

  Request scored = request_of(60, 1, 4);
  scored.score_only = true;
  expect_taken(scored);
  scored.sampling.max_tokens = kMax;  // means nothing where nothing is drawn
  expect_taken(scored);
  scored.forced.push_back(0);
  expect_refused(scored, exhausted, "65 ids");
}

TEST(RequestCheck, GeneratedIdsAreCheckedLikeOthers) {
  const auto invalid = absl::StatusCode::kInvalidArgument;
  Request request = request_of(4, 3);
  request.generated = {1, 2};
  expect_taken(request);
  request.forced = {1};
  expect_refused(request, invalid, "not both");
  request.forced.clear();
  request.generated = {1, 50};
  expect_refused(request, invalid, "generated[1]");
  request.generated = {1, 2, 3};
  expect_refused(request, invalid, "nothing to draw");
}

// A context that the cache holds whole is never the cache's refusal, however much is asked for.
TEST(RequestCheck, MaxTokensMayExceedTheContext) {
  constexpr RequestLimits kExact = {.vocab_size = 50, .max_positions = 64, .cache_tokens = 64};
  expect_taken(request_of(1, kMax), kExact);
  expect_taken(request_of(63, kMax), kExact);
}

}  // namespace
}  // namespace conclave
