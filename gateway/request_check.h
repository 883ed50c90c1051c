// What a client's request must be to enter the table: the gateway's one place that says so
// (contract C5). An attention node checks again what concerns it, in the same words.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "gateway/request.h"

namespace conclave {

struct ClientRequestLimits {
  int32_t vocab_size = 0;     // V: ids are below it
  int32_t max_positions = 0;  // the context
  bool serves_text = false;   // there is a tokenizer
};

inline constexpr size_t kMaxStops = 16;
inline constexpr size_t kMaxStopBytes = 256;
inline constexpr int32_t kMaxPriority = 100;

// INVALID_ARGUMENT naming the field and the value, or FAILED_PRECONDITION for text where there is
// no tokenizer.
absl::Status check_client_request(const GatewayRequest& request, const ClientRequestLimits& limits);

}  // namespace conclave
