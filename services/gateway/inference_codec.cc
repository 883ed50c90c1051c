#include "services/gateway/inference_codec.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "gateway/names.h"
#include "services/server/request_codec.h"

namespace conclave {
namespace {

absl::Status check_prompt_text(const std::string& text) {
  if (text.empty()) return absl::InvalidArgumentError("the prompt is empty (text)");
  const size_t nul = text.find('\0');
  if (nul == std::string::npos) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the prompt has a NUL at byte ", nul, " (text)"));
}

// Of GenerateRequest and ScoreRequest, whose prompts are alike.
template <typename Message>
absl::StatusOr<std::vector<int32_t>> prompt_of(const Message& message, const ServedModel& model) {
  switch (message.prompt_case()) {
    case Message::kText:
      RETURN_IF_ERROR(check_prompt_text(message.text()));
      return tokenize(message.text(), model);
    case Message::kIds:
      return std::vector<int32_t>(message.ids().ids().begin(), message.ids().ids().end());
    default:
      return absl::InvalidArgumentError("the request has neither text nor ids");
  }
}

// An id is made up later where there is none; checks need one now.
absl::Status check(GatewayRequest request, const ServedModel& model) {
  if (request.id.empty()) request.id.push_back('-');
  return check_client_request(request, model.limits());
}

}  // namespace

ClientRequestLimits ServedModel::limits() const {
  return {.vocab_size = folder->config.vocab_size,
          .max_positions = folder->config.max_positions,
          .serves_text = folder->tokenizer != nullptr};
}

absl::StatusOr<GatewayRequest> to_request(const v1::GenerateRequest& message,
                                          const ServedModel& model, uint64_t fresh_seed) {
  RETURN_IF_ERROR(check_model(message.model(), model));
  GatewayRequest request{
      .id = message.request_id(),
      .sampling = from_proto(message.sampling(), model.folder->generation, fresh_seed),
      .stops = {message.stop().begin(), message.stop().end()},
      .wants_text = model.folder->tokenizer != nullptr,
      .priority = message.priority()};
  ASSIGN_OR_RETURN(request.prompt, prompt_of(message, model));
  RETURN_IF_ERROR(check(request, model));
  return request;
}

absl::StatusOr<GatewayRequest> to_request(const v1::ScoreRequest& message,
                                          const ServedModel& model) {
  RETURN_IF_ERROR(check_model(message.model(), model));
  GatewayRequest request{.id = message.request_id(), .wants_text = false, .score_only = true};
  request.sampling.temperature = 0;
  request.sampling.num_logprobs = message.num_logprobs();
  request.sampling.prompt_logprobs = true;
  ASSIGN_OR_RETURN(request.prompt, prompt_of(message, model));
  if (message.num_logprobs() < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("num_logprobs is ", message.num_logprobs(), ", must be in [0, 20]"));
  }
  const int64_t num_ids = static_cast<int64_t>(request.prompt.size());
  if (message.num_prompt_ids() < 0 || message.num_prompt_ids() > num_ids) {
    return absl::InvalidArgumentError(absl::StrCat("num_prompt_ids is ", message.num_prompt_ids(),
                                                   ", there are ", num_ids, " ids"));
  }
  if (message.num_prompt_ids() > 0) {
    const auto cut = request.prompt.begin() + message.num_prompt_ids();
    request.forced.assign(cut, request.prompt.end());
    request.prompt.erase(cut, request.prompt.end());
  }
  RETURN_IF_ERROR(check(request, model));
  return request;
}

absl::Status check_model(const std::string& name, const ServedModel& model) {
  if (name.empty() || name == model.name) return absl::OkStatus();
  return absl::NotFoundError(
      absl::StrCat("no model ", in_quotes(name), " here, only ", in_quotes(model.name)));
}

absl::StatusOr<std::vector<int32_t>> tokenize(const std::string& text, const ServedModel& model) {
  RETURN_IF_ERROR(model.folder->check_serves_text());
  if (text.size() > model.max_text_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("text has ", text.size(), " bytes, the limit is ", model.max_text_bytes));
  }
  return model.folder->tokenizer->encode(text, {});
}

absl::StatusOr<std::string> detokenize(const std::vector<int32_t>& ids, bool skip_special,
                                       const ServedModel& model) {
  RETURN_IF_ERROR(model.folder->check_serves_text());
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < model.folder->config.vocab_size) continue;
    return absl::InvalidArgumentError(absl::StrCat("id ", ids[i], " at ids[", i, "] is not in [0, ",
                                                   model.folder->config.vocab_size, ")"));
  }
  return model.folder->tokenizer->decode(ids, skip_special);
}

// MergeFrom() puts ids and logprobs behind each other but lets the later text take the place of the
// earlier.
bool merge_deltas(v1::GenerateResponse* last, v1::GenerateResponse* next) {
  if (!last->has_delta() || !next->has_delta()) return false;
  const std::string text = last->delta().text() + next->delta().text();
  last->mutable_delta()->MergeFrom(next->delta());
  last->mutable_delta()->set_text(text);
  return true;
}

void to_proto(const AnswerDelta& delta, v1::GenerateDelta* message) {
  message->set_text(delta.text);
  message->mutable_ids()->Add(delta.ids.begin(), delta.ids.end());
  for (const Logprobs& one : delta.logprobs) to_proto(one, message->add_logprobs());
  for (const Logprobs& one : delta.prompt_logprobs) to_proto(one, message->add_prompt_logprobs());
}

void to_proto(const AnswerFinish& finish, v1::GenerateFinished* message) {
  switch (finish.reason) {
    case AnswerEnd::kStopId:
      message->set_reason(v1::GenerateFinished::REASON_STOP_ID);
      break;
    case AnswerEnd::kStopString:
      message->set_reason(v1::GenerateFinished::REASON_STOP_STRING);
      break;
    case AnswerEnd::kLength:
      message->set_reason(v1::GenerateFinished::REASON_LENGTH);
      break;
  }
  message->set_stop_string(finish.stop_string);
  message->set_num_generated_tokens(finish.num_generated);
}

}  // namespace conclave
