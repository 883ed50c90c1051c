#include "services/gateway/control_role.h"

#include <utility>

#include "absl/time/clock.h"

namespace conclave {
namespace {

constexpr int kMissedHeartbeats = 6;

// A version of the placement that is later than those of the control before this one.
int64_t first_version() { return absl::ToUnixMillis(absl::Now()); }

}  // namespace

ControlRole::ControlRole(const ModelFolder& folder, const GatewayFlags& flags, const Clock* clock,
                         EventLoop* loop, std::function<void()> on_plan)
    : membership(folder.config, clock,
                 {.weights = fingerprint_of(*folder.checkpoint),
                  .allow_mixed = flags.allow_mixed,
                  .silence_limit = kMissedHeartbeats * flags.heartbeat(),
                  .first_version = first_version()}),
      planner(clock, loop, std::move(on_plan)),
      placement(folder.config, {.clock = clock, .membership = &membership, .planner = &planner},
                flags.placement()) {}

}  // namespace conclave
