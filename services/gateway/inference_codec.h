// Clients' messages (proto/inference.proto) and what they mean to the gateway. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "gateway/request.h"
#include "gateway/request_check.h"
#include "proto/inference.pb.h"
#include "services/local/model_folder.h"

namespace conclave {

// What the gateway serves, as requests are read against it. All outlive it.
struct ServedModel {
  const ModelFolder* folder = nullptr;
  std::string name;
  size_t max_text_bytes = 8 << 20;

  ClientRequestLimits limits() const;
};

// A message with the model's defaults filled in and everything checked; the request has no id yet
// where the client gave none, and no deadline. NOT_FOUND for another model, otherwise as
// check_client_request().
absl::StatusOr<GatewayRequest> to_request(const v1::GenerateRequest& message,
                                          const ServedModel& model, uint64_t fresh_seed);
absl::StatusOr<GatewayRequest> to_request(const v1::ScoreRequest& message,
                                          const ServedModel& model);

// NOT_FOUND naming both models, unless `name` is empty or the one that is served.
absl::Status check_model(const std::string& name, const ServedModel& model);

// INVALID_ARGUMENT for text that is not UTF-8 or too long, FAILED_PRECONDITION without tokenizer.
absl::StatusOr<std::vector<int32_t>> tokenize(const std::string& text, const ServedModel& model);

// INVALID_ARGUMENT for ids outside the vocabulary, FAILED_PRECONDITION without tokenizer.
absl::StatusOr<std::string> detokenize(const std::vector<int32_t>& ids, bool skip_special,
                                       const ServedModel& model);

void to_proto(const AnswerDelta& delta, v1::GenerateDelta* message);

// Puts a delta behind the one before it, for a client that reads slower than it is answered. False
// where one of the two is no delta.
bool merge_deltas(v1::GenerateResponse* last, v1::GenerateResponse* next);

void to_proto(const AnswerFinish& finish, v1::GenerateFinished* message);

}  // namespace conclave
