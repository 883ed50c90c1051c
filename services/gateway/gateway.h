// The gateway's process, put together: the clients' door, membership and placement, the router for
// those who have none.
#pragma once

#include "absl/status/status.h"
#include "services/gateway/gateway_flags.h"
#include "services/server/stop_signal.h"

namespace conclave {

// Serves until `stop` says so, lets requests finish and returns. Errors name what could not be had.
absl::Status run_gateway(const GatewayFlags& flags, StopSignal* stop);

}  // namespace conclave
