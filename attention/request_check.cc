#include "attention/request_check.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "absl/strings/str_format.h"
#include "common/status_macros.h"

namespace conclave {
namespace {

absl::Status check_ids(const std::vector<int32_t>& ids, std::string_view name, int32_t vocab_size) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < vocab_size) continue;
    return absl::InvalidArgumentError(absl::StrFormat("id %d at %s[%d] is not in [0, %d)", ids[i],
                                                      std::string(name), i, vocab_size));
  }
  return absl::OkStatus();
}

// Ids that are there before anything is drawn.
int64_t num_given(const Request& request) {
  return static_cast<int64_t>(request.prompt.size() + request.generated.size() +
                              request.forced.size());
}

// Ids that are computed when the request is at its longest.
int64_t longest(const Request& request, const RequestLimits& limits) {
  if (request.score_only) return num_given(request);
  // The last id drawn is never computed, so it needs no place.
  const int64_t whole = static_cast<int64_t>(request.prompt.size()) + request.sampling.max_tokens;
  return std::max(num_given(request), std::min<int64_t>(whole, limits.max_positions) - 1);
}

}  // namespace

absl::Status check_request(const Request& request, const RequestLimits& limits) {
  if (request.prompt.empty()) {
    return absl::InvalidArgumentError("the prompt is empty: it must have at least one id");
  }
  RETURN_IF_ERROR(check_ids(request.prompt, "prompt", limits.vocab_size));
  RETURN_IF_ERROR(check_ids(request.generated, "generated", limits.vocab_size));
  RETURN_IF_ERROR(check_ids(request.forced, "forced", limits.vocab_size));
  RETURN_IF_ERROR(validate(request.sampling, limits.vocab_size));

  if (!request.generated.empty() && !request.forced.empty()) {
    return absl::InvalidArgumentError("a request has generated ids or forced ids, not both");
  }
  const size_t num_before = request.generated.size() + request.forced.size();
  if (!request.score_only && static_cast<int64_t>(num_before) >= request.sampling.max_tokens) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%d generated or forced ids leave nothing to draw within max_tokens %d",
                        num_before, request.sampling.max_tokens));
  }
  // A draw needs one more place than what is given.
  const int64_t given = num_given(request);
  const int64_t needed = given + (request.score_only ? 0 : 1);
  if (needed > limits.max_positions) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the prompt has %d ids and the model's context is %d", given, limits.max_positions));
  }
  if (longest(request, limits) > limits.cache_tokens) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("prompt and max_tokens make %d ids to compute and the whole cache holds %d",
                        longest(request, limits), limits.cache_tokens));
  }
  return absl::OkStatus();
}

}  // namespace conclave
