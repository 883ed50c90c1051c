// The attention node's process, put together: weights, engine, step thread, doors.
#pragma once

#include "absl/status/status.h"
#include "services/attention_node/node_flags.h"
#include "services/server/stop_signal.h"

namespace conclave {

// Loads, serves until `stop` says so, drains and returns. Errors name what could not be had.
absl::Status run_attention_node(const NodeFlags& flags, StopSignal* stop);

}  // namespace conclave
