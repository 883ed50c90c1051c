#include "services/server/metrics.h"

#include <netdb.h>
#include <prometheus/exposer.h>
#include <prometheus/registry.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <exception>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "services/server/address.h"

namespace conclave {
namespace {

// Opens a connection and closes it again; whether it came about does not matter.
void knock(const std::string& address) {
  const absl::StatusOr<HostPort> place = parse_host_port(address);
  if (!place.ok()) return;
  const addrinfo hints{.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
  addrinfo* found = nullptr;
  const std::string port = absl::StrCat(place->port);
  if (getaddrinfo(place->host.c_str(), port.c_str(), &hints, &found) != 0) return;
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd >= 0) {
    (void)connect(fd, found->ai_addr, found->ai_addrlen);
    close(fd);
  }
  freeaddrinfo(found);
}

}  // namespace

Metrics::Metrics() : registry_(std::make_shared<prometheus::Registry>()) {}

// The web server looks every two seconds only whether it is to stop, and at every connection.
Metrics::~Metrics() {
  if (exposer_ == nullptr) return;
  std::atomic<bool> is_stopped = false;
  std::thread waker([&] {
    while (!is_stopped) {
      knock(address_);
      absl::SleepFor(absl::Milliseconds(20));
    }
  });
  exposer_.reset();
  is_stopped = true;
  waker.join();
}

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
