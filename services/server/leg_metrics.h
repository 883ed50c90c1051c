// The metrics of whoever routes, an attention node or the gateway: what became of every leg.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "router/expert_layer.h"
#include "services/server/metrics.h"

namespace conclave {

// One thread calls what is LegObserver's.
class LegMetrics final : public LegObserver {
 public:
  // `metrics` outlives this.
  explicit LegMetrics(Metrics* metrics);

  ~LegMetrics() override;

  void on_leg(const LegReport& report) override;
  void on_move(std::string_view transport) override;
  void on_hedge(std::string_view transport, HedgeOutcome outcome) override;

 private:
  // The series of one transport: "grpc", "shm", or "none" for legs that were never sent.
  class Series;

  Series& series_of(std::string_view transport);

  Metrics* const metrics_;
  std::map<std::string, std::unique_ptr<Series>, std::less<>> series_;
};

}  // namespace conclave
