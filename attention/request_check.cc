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

// Ids that the request has at its longest.
int64_t longest(const Request& request, const RequestLimits& limits) {
  const int64_t given =
      static_cast<int64_t>(request.prompt.size()) + static_cast<int64_t>(request.forced.size());
  if (request.score_only) return given;
  const int64_t generated =
      static_cast<int64_t>(request.prompt.size()) + request.sampling.max_tokens;
  return std::max(given, std::min<int64_t>(generated, limits.max_positions));
}

}  // namespace

absl::Status check_request(const Request& request, const RequestLimits& limits) {
  if (request.prompt.empty()) {
    return absl::InvalidArgumentError("the prompt is empty: it must have at least one id");
  }
  RETURN_IF_ERROR(check_ids(request.prompt, "prompt", limits.vocab_size));
  RETURN_IF_ERROR(check_ids(request.forced, "forced", limits.vocab_size));
  RETURN_IF_ERROR(validate(request.sampling, limits.vocab_size));

  if (!request.score_only &&
      static_cast<int64_t>(request.forced.size()) >= request.sampling.max_tokens) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%d forced ids leave nothing to draw within max_tokens %d",
                        request.forced.size(), request.sampling.max_tokens));
  }
  // A draw needs one more place than what is given.
  const int64_t given =
      static_cast<int64_t>(request.prompt.size()) + static_cast<int64_t>(request.forced.size());
  const int64_t needed = given + (request.score_only ? 0 : 1);
  if (needed > limits.max_positions) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the prompt has %d ids and the model's context is %d", given, limits.max_positions));
  }
  if (longest(request, limits) > limits.cache_tokens) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("prompt and max_tokens make %d ids and the whole cache holds %d",
                        longest(request, limits), limits.cache_tokens));
  }
  return absl::OkStatus();
}

}  // namespace conclave
