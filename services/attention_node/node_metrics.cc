#include "services/attention_node/node_metrics.h"

namespace conclave {
namespace {

constexpr char kRequestsHelp[] = "Requests that ended here, by outcome";

// A counter that shows what somebody else counts.
void raise_to(double value, prometheus::Counter* counter) {
  if (value > counter->Value()) counter->Increment(value - counter->Value());
}

}  // namespace

NodeMetrics::NodeMetrics(Metrics* metrics)
    : metrics_(metrics),
      finished_(metrics_->counter("conclave_node_requests_total", kRequestsHelp,
                                  {{"outcome", "finished"}})),
      cancelled_(metrics_->counter("conclave_node_requests_total", kRequestsHelp,
                                   {{"outcome", "cancelled"}})),
      failed_(metrics_->counter("conclave_node_requests_total", kRequestsHelp,
                                {{"outcome", "failed"}})),
      tokens_(metrics_->counter("conclave_node_tokens_total", "Tokens generated")),
      preemptions_(metrics_->counter("conclave_node_preemptions_total",
                                     "Requests that gave their pages to another and were computed "
                                     "again")),
      stalls_(metrics_->counter("conclave_node_stalls_total",
                                "Times that a request had to wait for experts and try again")),
      halved_steps_(metrics_->counter("conclave_node_halved_steps_total",
                                      "Forward passes that went in two halves, each computing "
                                      "while rows of the other were away")),
      leg_wait_seconds_(metrics_->counter("conclave_node_leg_wait_seconds_total",
                                          "Time in which forward passes waited for experts and "
                                          "added up their answers")),
      step_seconds_(metrics_->histogram("conclave_node_step_seconds", "Time of one forward pass",
                                        exponential_buckets(250e-6, 2, 16))),
      step_tokens_(metrics_->histogram("conclave_node_step_tokens", "Tokens of one forward pass",
                                       exponential_buckets(1, 2, 14))),
      running_(metrics_->gauge("conclave_node_running_requests", "Requests that have pages")),
      waiting_(metrics_->gauge("conclave_node_waiting_requests", "Requests that wait for pages")),
      stalled_(metrics_->gauge("conclave_node_stalled_requests",
                               "Requests that wait for experts nobody holds or answers for")),
      pages_(metrics_->gauge("conclave_node_cache_pages", "Pages of the latent cache")),
      free_pages_(metrics_->gauge("conclave_node_cache_free_pages", "Pages that nobody uses")),
      placement_version_(
          metrics_->gauge("conclave_node_placement_version", "Version of the placement in use")) {}

void NodeMetrics::on_step(const StepReport& report, const Engine& engine) {
  step_seconds_.Observe(absl::ToDoubleSeconds(report.duration));
  step_tokens_.Observe(report.num_tokens);
  raise_to(static_cast<double>(engine.num_tokens()), &tokens_);
  raise_to(static_cast<double>(engine.num_preemptions()), &preemptions_);
  raise_to(static_cast<double>(engine.num_stalls()), &stalls_);
  const LayerWalk::Counters& walk = engine.walk().counters();
  raise_to(static_cast<double>(walk.num_halved_steps), &halved_steps_);
  raise_to(absl::ToDoubleSeconds(walk.waited), &leg_wait_seconds_);
}

void NodeMetrics::on_end(const absl::Status& status) {
  if (status.ok()) return finished_.Increment();
  if (absl::IsCancelled(status)) return cancelled_.Increment();
  failed_.Increment();
}

void NodeMetrics::on_load(const NodeLoad& load, int64_t placement_version) {
  running_.Set(load.num_running);
  waiting_.Set(load.num_waiting);
  stalled_.Set(load.num_stalled);
  pages_.Set(load.num_pages);
  free_pages_.Set(load.num_free_pages);
  placement_version_.Set(static_cast<double>(placement_version));
}

}  // namespace conclave
