// Flags of the gateway.
#pragma once

#include <cstdint>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/dtype.h"
#include "gateway/placement/placement_control.h"
#include "services/server/server_flags.h"
#include "services/server/transport_flags.h"

namespace conclave {

struct GatewayFlags {
  ServerFlags server;
  std::string role = "both";      // "frontend", "control", "both"
  std::string routing = "local";  // "gateway": this process routes for attention nodes
  std::string wire_out = "bf16";
  std::string wire_back = "bf16";
  int32_t max_queued = 1024;
  int32_t max_route_tokens = 4096;
  double leg_timeout_seconds = 10;
  TransportFlags transport;
  double request_timeout_seconds = 600;
  double node_timeout_seconds = 0.6;
  double heartbeat_seconds = 0.5;
  bool allow_mixed = false;
  int32_t min_replicas = 1;
  double spare_experts = 0.125;
  double rebalance_seconds = 60;  // 0: never for the load alone

  void add_to(CLI::App* app);

  // What CLI11 cannot say.
  absl::Status check() const;

  bool is_frontend() const { return role != "control"; }
  bool is_control() const { return role != "frontend"; }
  bool routes_here() const { return routing == "gateway"; }
  absl::Duration leg_timeout() const { return absl::Seconds(leg_timeout_seconds); }
  absl::Duration request_timeout() const { return absl::Seconds(request_timeout_seconds); }
  PlacementControl::Options placement() const;
  absl::Duration node_timeout() const { return absl::Seconds(node_timeout_seconds); }
  absl::Duration heartbeat() const { return absl::Seconds(heartbeat_seconds); }

 private:
  void add_placement_to(CLI::App* app);
};

}  // namespace conclave
