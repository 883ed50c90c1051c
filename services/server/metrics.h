// What Prometheus scrapes: the process's metrics, on a small HTTP port of their own.
//
// A family is in the answer from the moment it was asked for, so a process asks for all of its
// families when it starts: a counter that stands at 0 is told from one that is missing. Names are
// conclave_<what>_<unit> and labels have few values, known when the code was written;
// docs/metrics.md lists them all.
//
// Thread-safe. What is returned lives as long as this; adding to it takes no lock. (Observing a
// histogram does.)
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace prometheus {
class Exposer;
class Registry;
}  // namespace prometheus

namespace conclave {

class Metrics {
 public:
  struct Options {
    std::string listen;  // HOST:PORT of numbers, port 0 for any; "off": nothing is served
    std::string role;    // "gateway", "attention_node", "expert_server"
    std::string version;
  };

  // Serves GET /metrics at once, with conclave_build_info and process_start_time_seconds.
  // UNAVAILABLE naming the address when it cannot be listened on.
  static absl::StatusOr<std::unique_ptr<Metrics>> create(const Options& options);
  ~Metrics();

  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // The same name with other labels adds a series to the family; with the same labels it is the
  // same series.
  // REQUIRES: a name is of one type and has one help text
  prometheus::Counter& counter(const std::string& name, const std::string& help,
                               const prometheus::Labels& labels = {});
  prometheus::Gauge& gauge(const std::string& name, const std::string& help,
                           const prometheus::Labels& labels = {});

  // `buckets` are upper bounds, ascending; +Inf is added.
  prometheus::Histogram& histogram(const std::string& name, const std::string& help,
                                   const std::vector<double>& buckets,
                                   const prometheus::Labels& labels = {});

  // HOST:PORT as bound, the host as in Options::listen; empty when off.
  const std::string& address() const { return address_; }

 private:
  Metrics();
  absl::Status listen(const std::string& listen);

  const std::shared_ptr<prometheus::Registry> registry_;  // prometheus-cpp wants it shared
  std::unique_ptr<prometheus::Exposer> exposer_;
  std::string address_;
};

// first, first * factor, ... : `count` bounds.
std::vector<double> exponential_buckets(double first, double factor, int count);

}  // namespace conclave
