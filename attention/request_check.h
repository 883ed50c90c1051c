// What a request must be to be taken: the one place that says so (contract C5).
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "attention/request.h"

namespace conclave {

struct RequestLimits {
  int32_t vocab_size = 0;     // V: ids of prompts are below it
  int32_t max_positions = 0;  // the context
  int64_t cache_tokens = 0;   // what the whole cache holds
};

// INVALID_ARGUMENT naming the field and the value, or RESOURCE_EXHAUSTED for a request that is
// longer than the cache.
absl::Status check_request(const Request& request, const RequestLimits& limits);

}  // namespace conclave
