// What an attention node tells Prometheus; docs/metrics.md lists it.
#pragma once

#include <map>

#include "absl/status/status.h"
#include "attention/engine.h"
#include "services/attention_node/node_loop.h"
#include "services/server/metrics.h"

namespace conclave {

class NodeMetrics {
 public:
  // `metrics` outlives this.
  explicit NodeMetrics(Metrics* metrics);

  // The step thread, after each step.
  void on_step(const StepReport& report, const Engine& engine);

  // Any thread: a request ended.
  void on_end(const absl::Status& status);

  // Any thread, now and then.
  void on_load(const NodeLoad& load, int64_t placement_version);

 private:
  Metrics* const metrics_;
  prometheus::Counter& finished_;
  prometheus::Counter& cancelled_;
  prometheus::Counter& failed_;
  prometheus::Counter& tokens_;
  prometheus::Counter& preemptions_;
  prometheus::Counter& stalls_;
  prometheus::Counter& halved_steps_;
  prometheus::Counter& leg_wait_seconds_;
  prometheus::Histogram& step_seconds_;
  prometheus::Histogram& step_tokens_;
  prometheus::Gauge& running_;
  prometheus::Gauge& waiting_;
  prometheus::Gauge& stalled_;
  prometheus::Gauge& pages_;
  prometheus::Gauge& free_pages_;
  prometheus::Gauge& placement_version_;
};

}  // namespace conclave
