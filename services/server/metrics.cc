#include "services/server/metrics.h"

#include <prometheus/exposer.h>
#include <prometheus/registry.h>

#include <exception>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "services/server/address.h"

namespace conclave {

Metrics::Metrics() : registry_(std::make_shared<prometheus::Registry>()) {}

Metrics::~Metrics() = default;

absl::StatusOr<std::unique_ptr<Metrics>> Metrics::create(const Options& options) {
  std::unique_ptr<Metrics> metrics(new Metrics);
  metrics
      ->gauge("conclave_build_info", "1, with what runs here",
              {{"version", options.version}, {"role", options.role}})
      .Set(1);
  metrics->gauge("process_start_time_seconds", "When the process started, in Unix time")
      .Set(absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()));
  if (options.listen != "off") RETURN_IF_ERROR(metrics->listen(options.listen));
  return metrics;
}

// prometheus-cpp and its web server throw.
absl::Status Metrics::listen(const std::string& listen) {
  ASSIGN_OR_RETURN(HostPort bound, parse_host_port(listen));
  try {
    exposer_ = std::make_unique<prometheus::Exposer>(bound.to_string(), /*num_threads=*/2);
    const std::vector<int> ports = exposer_->GetListeningPorts();
    if (!ports.empty()) bound.port = ports.front();
    exposer_->RegisterCollectable(registry_);
  } catch (const std::exception& error) {
    return absl::UnavailableError(
        absl::StrCat("metrics cannot listen on ", listen, ": ", error.what()));
  }
  address_ = bound.to_string();
  return absl::OkStatus();
}

prometheus::Counter& Metrics::counter(const std::string& name, const std::string& help,
                                      const prometheus::Labels& labels) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(*registry_).Add(labels);
}

prometheus::Gauge& Metrics::gauge(const std::string& name, const std::string& help,
                                  const prometheus::Labels& labels) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(*registry_).Add(labels);
}

prometheus::Histogram& Metrics::histogram(const std::string& name, const std::string& help,
                                          const std::vector<double>& buckets,
                                          const prometheus::Labels& labels) {
  return prometheus::BuildHistogram()
      .Name(name)
      .Help(help)
      .Register(*registry_)
      .Add(labels, buckets);
}

std::vector<double> exponential_buckets(double first, double factor, int count) {
  std::vector<double> bounds;
  for (double bound = first; count > 0; --count, bound *= factor) bounds.push_back(bound);
  return bounds;
}

}  // namespace conclave
