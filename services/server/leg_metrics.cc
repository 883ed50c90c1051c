#include "services/server/leg_metrics.h"

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace conclave {
namespace {

constexpr char kPicksHelp[] = "Picks answered, by expert server";
constexpr char kFailuresHelp[] = "Legs that were not answered, by gRPC code";

std::vector<double> leg_buckets() { return exponential_buckets(50e-6, 2, 18); }

std::string name_of(HedgeOutcome outcome) {
  switch (outcome) {
    case HedgeOutcome::kWon:
      return "won";
    case HedgeOutcome::kLost:
      return "lost";
    case HedgeOutcome::kTookOver:
      return "took_over";
    case HedgeOutcome::kDropped:
      return "dropped";
  }
  CHECK(false);
}

prometheus::Labels with(prometheus::Labels labels, const std::string& name,
                        const std::string& value) {
  labels[name] = value;
  return labels;
}

}  // namespace

class LegMetrics::Series {
 public:
  Series(Metrics* metrics, const std::string& transport)
      : metrics_(metrics),
        labels_({{"transport", transport}}),
        seconds_(metrics->histogram("conclave_leg_seconds", "From sending a leg to its answer",
                                    leg_buckets(), labels_)),
        rows_(metrics->counter("conclave_leg_rows_total", "Rows sent to expert servers", labels_)),
        moves_(metrics->counter("conclave_leg_moves_total",
                                "Legs whose picks were sent to other holders", labels_)),
        bytes_out_(metrics->counter("conclave_leg_bytes_total", "Bytes of rows on legs",
                                    with(labels_, "direction", "out"))),
        bytes_back_(metrics->counter("conclave_leg_bytes_total", "Bytes of rows on legs",
                                     with(labels_, "direction", "back"))) {
    for (const HedgeOutcome outcome : kHedgeOutcomes) {
      hedges_[outcome] = &metrics->counter("conclave_leg_hedges_total",
                                           "Legs whose picks two sides were asked for",
                                           with(labels_, "outcome", name_of(outcome)));
    }
    failures_of(absl::StatusCode::kUnavailable);
    picks_of(ServerId{0});
  }

  void count(const LegReport& report) {
    if (!report.status.ok()) return failures_of(report.status.code()).Increment();
    seconds_.Observe(absl::ToDoubleSeconds(report.latency));
    rows_.Increment(report.num_rows);
    bytes_out_.Increment(static_cast<double>(report.bytes_out));
    bytes_back_.Increment(static_cast<double>(report.bytes_back));
    picks_of(report.server).Increment(report.num_picks);
  }

  void count_move() { moves_.Increment(); }
  void count_hedge(HedgeOutcome outcome) { hedges_.at(outcome)->Increment(); }

 private:
  // One series per server that was ever asked: their numbers are control's and bounded there.
  prometheus::Counter& picks_of(ServerId server) {
    prometheus::Counter*& counter = picks_[server];
    if (counter == nullptr) {
      const std::string number = absl::StrCat(static_cast<int32_t>(server));
      counter = &metrics_->counter("conclave_leg_picks_total", kPicksHelp,
                                   with(labels_, "server", number));
    }
    return *counter;
  }

  prometheus::Counter& failures_of(absl::StatusCode code) {
    prometheus::Counter*& counter = failures_[code];
    if (counter == nullptr) {
      counter = &metrics_->counter("conclave_leg_failures_total", kFailuresHelp,
                                   with(labels_, "code", absl::StatusCodeToString(code)));
    }
    return *counter;
  }

  Metrics* const metrics_;
  const prometheus::Labels labels_;
  prometheus::Histogram& seconds_;
  prometheus::Counter& rows_;
  prometheus::Counter& moves_;
  prometheus::Counter& bytes_out_;
  prometheus::Counter& bytes_back_;
  std::map<HedgeOutcome, prometheus::Counter*> hedges_;
  std::map<ServerId, prometheus::Counter*> picks_;
  std::map<absl::StatusCode, prometheus::Counter*> failures_;
};

LegMetrics::LegMetrics(Metrics* metrics) : metrics_(metrics) {
  for (const std::string_view transport : {"grpc", "shm"}) series_of(transport);
}

LegMetrics::~LegMetrics() = default;

void LegMetrics::on_leg(const LegReport& report) { series_of(report.transport).count(report); }

void LegMetrics::on_move(std::string_view transport) { series_of(transport).count_move(); }

void LegMetrics::on_hedge(std::string_view transport, HedgeOutcome outcome) {
  series_of(transport).count_hedge(outcome);
}

LegMetrics::Series& LegMetrics::series_of(std::string_view transport) {
  if (transport.empty()) transport = "none";
  const auto found = series_.find(transport);
  if (found != series_.end()) return *found->second;
  const std::string name(transport);
  return *(series_[name] = std::make_unique<Series>(metrics_, name));
}

}  // namespace conclave
