// What the gateway tells Prometheus; docs/metrics.md lists it.
#pragma once

#include <cstdint>
#include <vector>

#include "gateway/table_stats.h"
#include "services/gateway/cluster_state.h"
#include "services/server/metrics.h"

namespace conclave {

// The loop's thread, where nothing else is said.
class GatewayMetrics final : public TableObserver {
 public:
  // `metrics` outlives this. A gateway that is not a frontend has no table, one that is not control
  // no membership: their metrics then stand at zero.
  GatewayMetrics(Metrics* metrics, int32_t num_layers);

  void on_first_token(absl::Duration wait) override;
  void on_next_tokens(absl::Duration gap, int32_t num_tokens) override;

  // Any thread: a request that cannot be was turned away.
  void on_invalid() { invalid_.Increment(); }

  // Brings gauges and counters up to date.
  void update(ClusterState* state);

 private:
  void update_table(const RequestTable& table);
  void update_members(const Membership& membership);
  void update_placement(const PlacementControl& placement);

  prometheus::Counter& outcome(Metrics* metrics, const char* name);

  prometheus::Histogram& ttft_;
  prometheus::Histogram& itl_;
  prometheus::Counter& invalid_;
  prometheus::Counter& refused_;
  prometheus::Counter& stop_id_;
  prometheus::Counter& stop_string_;
  prometheus::Counter& length_;
  prometheus::Counter& cancelled_;
  prometheus::Counter& client_gone_;
  prometheus::Counter& deadline_;
  prometheus::Counter& failed_;
  prometheus::Counter& prompt_tokens_;
  prometheus::Counter& tokens_;
  prometheus::Counter& replays_;
  prometheus::Counter& replayed_tokens_;
  prometheus::Counter& turned_away_;
  prometheus::Gauge& queued_;
  prometheus::Gauge& assigned_;
  prometheus::Gauge& nodes_;
  prometheus::Gauge& expert_servers_;
  prometheus::Gauge& covered_;
  prometheus::Gauge& experts_;
  prometheus::Gauge& ready_;
  prometheus::Gauge& exact_;
  prometheus::Gauge& placement_version_;
  prometheus::Counter& plans_;
  prometheus::Gauge& pending_experts_;
  prometheus::Gauge& stuck_seconds_;
  prometheus::Gauge& short_experts_;
  std::vector<prometheus::Gauge*> imbalance_;  // [L]
};

}  // namespace conclave
