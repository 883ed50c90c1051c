#include "gateway/request_check.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "gateway/names.h"

namespace conclave {
namespace {

absl::Status check_ids(const std::vector<int32_t>& ids, const char* name, int32_t vocab_size) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < vocab_size) continue;
    return absl::InvalidArgumentError(
        absl::StrFormat("id %d at %s[%d] is not in [0, %d)", ids[i], name, i, vocab_size));
  }
  return absl::OkStatus();
}

absl::Status check_stops(const std::vector<std::string>& stops) {
  if (stops.size() > kMaxStops) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the number of stop strings is %d, must be at most %d", stops.size(), kMaxStops));
  }
  for (size_t i = 0; i < stops.size(); ++i) {
    if (!stops[i].empty() && stops[i].size() <= kMaxStopBytes) continue;
    return absl::InvalidArgumentError(
        absl::StrFormat("stop[%d] is %s, %d bytes, must be of 1 to %d bytes", i,
                        in_quotes(stops[i]), stops[i].size(), kMaxStopBytes));
  }
  return absl::OkStatus();
}

absl::Status check_room(const GatewayRequest& request, int32_t max_positions) {
  const size_t num_forced = request.forced.size();
  if (!request.score_only && static_cast<int64_t>(num_forced) >= request.sampling.max_tokens) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%d generated or forced ids leave nothing to draw within max_tokens %d",
                        num_forced, request.sampling.max_tokens));
  }
  // A draw needs one more place than what is given.
  const int64_t given = static_cast<int64_t>(request.prompt.size() + num_forced);
  if (given + (request.score_only ? 0 : 1) <= max_positions) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("the prompt has %d ids and the model's context is %d", given, max_positions));
}

absl::Status check_text(const GatewayRequest& request, const ClientRequestLimits& limits) {
  RETURN_IF_ERROR(check_stops(request.stops));
  if (limits.serves_text || (request.stops.empty() && !request.wants_text)) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrFormat("%s a tokenizer, and the model has no tokenizer.json",
                      request.stops.empty() ? "text needs" : "stop strings need"));
}

}  // namespace

int64_t longest(const GatewayRequest& request, int32_t max_positions) {
  const auto given = static_cast<int64_t>(request.prompt.size() + request.forced.size());
  if (request.score_only) return given;
  // The last id drawn is never computed, so it needs no place.
  const int64_t whole = static_cast<int64_t>(request.prompt.size()) + request.sampling.max_tokens;
  return std::max(given, std::min<int64_t>(whole, max_positions) - 1);
}

absl::Status check_client_request(const GatewayRequest& request,
                                  const ClientRequestLimits& limits) {
  RETURN_IF_ERROR(check_name("request_id", request.id));
  if (request.prompt.empty()) {
    return absl::InvalidArgumentError("the prompt is empty: it must have at least one id");
  }
  RETURN_IF_ERROR(check_ids(request.prompt, "prompt", limits.vocab_size));
  RETURN_IF_ERROR(check_ids(request.forced, "forced", limits.vocab_size));
  RETURN_IF_ERROR(validate(request.sampling, limits.vocab_size));
  RETURN_IF_ERROR(check_room(request, limits.max_positions));
  if (request.priority < -kMaxPriority || request.priority > kMaxPriority) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "priority is %d, must be in [%d, %d]", request.priority, -kMaxPriority, kMaxPriority));
  }
  return check_text(request, limits);
}

}  // namespace conclave
