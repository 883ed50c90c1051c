#include "services/gateway/gateway_flags.h"

namespace conclave {

void GatewayFlags::add_to(CLI::App* app) {
  server.add_to(app, ServerFlags::Kind::kGateway);
  const CLI::IsMember row_types({"f32", "bf16"});
  app->add_option("--role", role,
                  "frontend: the clients' door; control: membership and placement; or both")
      ->check(CLI::IsMember({"frontend", "control", "both"}))
      ->capture_default_str();
  app->add_option("--control", server.control,
                  "HOST:PORT of the control role, for a gateway that is a frontend only");
  app->add_option("--routing", routing,
                  "gateway: this process also routes rows to experts for attention nodes that were "
                  "started with --routing gateway")
      ->check(CLI::IsMember({"local", "gateway"}))
      ->capture_default_str();
  app->add_option("--wire-out", wire_out, "Type of rows to the experts (--routing gateway)")
      ->check(CLI::IsMember({"f32", "bf16", "fp8"}))
      ->capture_default_str();
  app->add_option("--wire-back", wire_back, "Type of rows from the experts (--routing gateway)")
      ->check(row_types)
      ->capture_default_str();
  transport.add_to_sender(app);
  app->add_option("--max-queued", max_queued,
                  "Requests that wait for an attention node; more are refused")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app->add_option("--max-route-tokens", max_route_tokens,
                  "Rows that an attention node may send at once (--routing gateway)")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app->add_option("--leg-timeout", leg_timeout_seconds,
                  "Seconds after which an expert server that is silent counts as lost")
      ->check(CLI::Range(0.01, 3600.0))
      ->capture_default_str();
  app->add_option("--request-timeout", request_timeout_seconds,
                  "Seconds that a request may take when its client does not say less")
      ->check(CLI::Range(0.1, 1e6))
      ->capture_default_str();
  app->add_option("--node-timeout", node_timeout_seconds,
                  "Seconds after which an attention node that does not answer counts as lost")
      ->check(CLI::Range(0.05, 3600.0))
      ->capture_default_str();
  app->add_option("--heartbeat", heartbeat_seconds,
                  "Seconds between heartbeats of servers; one that misses six is taken out")
      ->check(CLI::Range(0.05, 60.0))
      ->capture_default_str();
  add_placement_to(app);
  app->add_flag("--allow-mixed", allow_mixed,
                "Let servers of other numeric profiles serve side by side: answers may then differ "
                "in their last bits");
}

void GatewayFlags::add_placement_to(CLI::App* app) {
  app->add_option("--min-replicas", min_replicas,
                  "Expert servers that each expert is to be on, where they have room and hold what "
                  "control orders (expert_server --experts auto)")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app->add_option("--spare-experts", spare_experts,
                  "Room for further copies of experts that are asked much, as a share of all "
                  "experts")
      ->check(CLI::Range(0.0, 64.0))
      ->capture_default_str();
  app->add_option("--rebalance-interval", rebalance_seconds,
                  "Seconds between looks at how evenly experts are asked, which may move some; 0: "
                  "experts move only when servers come and go")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
}

PlacementControl::Options GatewayFlags::placement() const {
  PlacementControl::Options options{.min_replicas = min_replicas, .spare = spare_experts};
  options.rebalance =
      rebalance_seconds == 0 ? absl::InfiniteDuration() : absl::Seconds(rebalance_seconds);
  return options;
}

absl::Status GatewayFlags::check() const {
  if (is_control() != server.control.empty()) {
    return absl::InvalidArgumentError(
        is_control() ? "--control is for --role frontend: this gateway is the control role itself"
                     : "--role frontend needs --control, the address of the control role");
  }
  if (routes_here() && !is_control()) {
    return absl::InvalidArgumentError(
        "--routing gateway is for the control role, not --role frontend");
  }
  return absl::OkStatus();
}

}  // namespace conclave
