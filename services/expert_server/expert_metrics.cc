#include "services/expert_server/expert_metrics.h"

namespace conclave {
namespace {

constexpr char kLegs[] = "conclave_expert_legs_total";
constexpr char kLegsHelp[] = "Legs answered, by status code";
constexpr char kBytes[] = "conclave_expert_bytes_total";
constexpr char kBytesHelp[] = "Bytes of rows in legs and in their answers";

constexpr absl::StatusCode kCodes[] = {
    absl::StatusCode::kOk,          absl::StatusCode::kInvalidArgument,
    absl::StatusCode::kNotFound,    absl::StatusCode::kResourceExhausted,
    absl::StatusCode::kUnavailable, absl::StatusCode::kInternal,
};

}  // namespace

ExpertMetrics::ExpertMetrics(Metrics* metrics)
    : picks_(metrics->counter("conclave_expert_picks_total", "Picks computed")),
      rows_(metrics->counter("conclave_expert_rows_total", "Rows of the legs computed")),
      bytes_in_(metrics->counter(kBytes, kBytesHelp, {{"direction", "in"}})),
      bytes_out_(metrics->counter(kBytes, kBytesHelp, {{"direction", "out"}})),
      batch_picks_(metrics->histogram("conclave_expert_batch_picks",
                                      "Picks computed together, of one layer",
                                      exponential_buckets(1, 2, 15))),
      step_seconds_(metrics->histogram("conclave_expert_step_seconds",
                                       "Time that computing a batch took",
                                       exponential_buckets(1e-5, 2, 20))),
      queued_legs_(metrics->gauge("conclave_expert_queue_legs", "Legs that wait or are computed")),
      weight_bytes_(metrics->gauge("conclave_expert_weight_bytes", "Bytes of the weights held")),
      held_experts_(metrics->gauge("conclave_expert_held_experts",
                                   "Pairs of layer and expert that are held")),
      missing_experts_(metrics->gauge("conclave_expert_missing_experts",
                                      "Pairs of layer and expert that control has ordered and "
                                      "that are not held yet")),
      loaded_(metrics->counter("conclave_expert_loads_total",
                               "Pairs of layer and expert that were loaded while serving")),
      loaded_bytes_(metrics->counter("conclave_expert_load_bytes_total",
                                     "Bytes of the weights that were loaded while serving")),
      load_seconds_(metrics->counter("conclave_expert_load_seconds_total",
                                     "Time that loading while serving took")),
      released_(metrics->counter("conclave_expert_releases_total",
                                 "Pairs of layer and expert that were released")),
      streams_(metrics->gauge("conclave_expert_streams", "Open streams of legs")),
      registered_(metrics->gauge("conclave_control_registered",
                                 "1 while control knows this server, else 0")) {
  for (const absl::StatusCode code : kCodes) {
    legs_[code] = &metrics->counter(kLegs, kLegsHelp, {{"code", absl::StatusCodeToString(code)}});
  }
}

prometheus::Counter& ExpertMetrics::legs(absl::StatusCode code) {
  const auto known = legs_.find(code);
  return *(known == legs_.end() ? legs_.at(absl::StatusCode::kInternal) : known->second);
}

void ExpertMetrics::on_answer(const Answer& answer) {
  legs(answer.code).Increment();
  bytes_in_.Increment(static_cast<double>(answer.bytes_in));
  if (answer.code != absl::StatusCode::kOk) return;
  picks_.Increment(static_cast<double>(answer.num_picks));
  rows_.Increment(static_cast<double>(answer.num_rows));
  bytes_out_.Increment(static_cast<double>(answer.bytes_out));
}

void ExpertMetrics::on_step(int64_t num_picks, absl::Duration duration) {
  batch_picks_.Observe(static_cast<double>(num_picks));
  step_seconds_.Observe(absl::ToDoubleSeconds(duration));
}

void ExpertMetrics::on_loaded(int64_t num_experts, uint64_t num_bytes, absl::Duration duration) {
  loaded_.Increment(static_cast<double>(num_experts));
  loaded_bytes_.Increment(static_cast<double>(num_bytes));
  load_seconds_.Increment(absl::ToDoubleSeconds(duration));
}

void ExpertMetrics::set_weights(uint64_t num_bytes, int64_t num_experts) {
  weight_bytes_.Set(static_cast<double>(num_bytes));
  held_experts_.Set(static_cast<double>(num_experts));
}

}  // namespace conclave
