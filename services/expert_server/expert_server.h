// The process: a holding of experts, the thread that runs rows through them, a gRPC port, and the
// line to control.
#pragma once

#include "absl/status/status.h"
#include "services/expert_server/expert_server_flags.h"
#include "services/server/stop_signal.h"

namespace conclave {

// Loads, serves and drains; returns when `stop` says so and all is over, or with what went wrong.
absl::Status run_expert_server(const ExpertServerFlags& flags, StopSignal* stop);

}  // namespace conclave
