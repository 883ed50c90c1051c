// What an expert server counts; docs/metrics.md has the words.
#pragma once

#include <cstdint>
#include <map>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "services/server/metrics.h"

namespace conclave {

class ExpertMetrics {
 public:
  // `metrics` outlives this. All series are there from now on.
  explicit ExpertMetrics(Metrics* metrics);

  // One leg, answered. Thread-safe.
  struct Answer {
    absl::StatusCode code = absl::StatusCode::kOk;
    int64_t num_rows = 0;
    int64_t num_picks = 0;
    int64_t bytes_in = 0;  // of rows
    int64_t bytes_out = 0;
  };
  void on_answer(const Answer& answer);

  // One run of the engine.
  void on_step(int64_t num_picks, absl::Duration duration);

  void set_queued_legs(int64_t count) { queued_legs_.Set(static_cast<double>(count)); }
  void set_weights(uint64_t num_bytes, int64_t num_experts);

  // What control orders: experts that are missing yet, a part that came, experts let go.
  // Thread-safe.
  void set_missing(int64_t num_experts) { missing_experts_.Set(static_cast<double>(num_experts)); }
  void on_loaded(int64_t num_experts, uint64_t num_bytes, absl::Duration duration);
  void on_released(int64_t num_experts) { released_.Increment(static_cast<double>(num_experts)); }
  void set_streams(int32_t count) { streams_.Set(count); }
  void set_registered(bool registered) { registered_.Set(registered ? 1 : 0); }

 private:
  prometheus::Counter& legs(absl::StatusCode code);

  std::map<absl::StatusCode, prometheus::Counter*> legs_;  // those that can be; not changed later
  prometheus::Counter& picks_;
  prometheus::Counter& rows_;
  prometheus::Counter& bytes_in_;
  prometheus::Counter& bytes_out_;
  prometheus::Histogram& batch_picks_;
  prometheus::Histogram& step_seconds_;
  prometheus::Gauge& queued_legs_;
  prometheus::Gauge& weight_bytes_;
  prometheus::Gauge& held_experts_;
  prometheus::Gauge& missing_experts_;
  prometheus::Counter& loaded_;
  prometheus::Counter& loaded_bytes_;
  prometheus::Counter& load_seconds_;
  prometheus::Counter& released_;
  prometheus::Gauge& streams_;
  prometheus::Gauge& registered_;
};

}  // namespace conclave
