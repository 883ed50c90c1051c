// The metrics of whoever routes, an attention node or the gateway: what became of every leg.
#pragma once

#include <map>
#include <string>

#include "router/expert_layer.h"
#include "services/server/metrics.h"

namespace conclave {

// on_leg() is called by one thread.
class LegMetrics final : public LegObserver {
 public:
  // `metrics` outlives this. `transport` is a label: "grpc".
  LegMetrics(Metrics* metrics, const std::string& transport);

  void on_leg(const LegReport& report) override;

 private:
  prometheus::Counter& picks_of(ServerId server);
  prometheus::Counter& failures_of(absl::StatusCode code);

  Metrics* const metrics_;
  const prometheus::Labels labels_;
  prometheus::Histogram& seconds_;
  prometheus::Counter& rows_;
  prometheus::Counter& bytes_out_;
  prometheus::Counter& bytes_back_;
  std::map<ServerId, prometheus::Counter*> picks_;
  std::map<absl::StatusCode, prometheus::Counter*> failures_;
};

}  // namespace conclave
