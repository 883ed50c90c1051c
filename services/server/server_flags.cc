#include "services/server/server_flags.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "kernels/instruction_class.h"
#include "services/server/address.h"
#include "services/server/log.h"

namespace conclave {
namespace {

constexpr int32_t kMaxThreads = 1024;
constexpr double kMaxDrainSeconds = 24 * 3600;

// CLI11 reads an empty text as "not given", or as 0.
CLI::Validator not_empty() {
  return CLI::Validator(
      [](const std::string& text) { return text.empty() ? "the value is empty" : ""; }, "");
}

absl::StatusOr<HostPort> parse_flag(const std::string& name, const std::string& text) {
  absl::StatusOr<HostPort> parsed = parse_host_port(text);
  if (parsed.ok()) return parsed;
  return absl::InvalidArgumentError(absl::StrCat(name, " ", parsed.status().message()));
}

void apply_log_level(const std::string& name) {
  if (name == "debug") set_log_level(LogLevel::kDebug);
  if (name == "info") set_log_level(LogLevel::kInfo);
  if (name == "warn") set_log_level(LogLevel::kWarn);
  if (name == "error") set_log_level(LogLevel::kError);
}

void add_node_flags(CLI::App* app, ServerFlags* flags) {
  app->add_option("--control", flags->control, "HOST:PORT of the gateway, where this registers")
      ->required()
      ->check(not_empty());
  app->add_option("--server-id", flags->server_id,
                  "Name in the cluster, unique and kept over restarts; default: the advertised "
                  "address")
      ->check(not_empty());
  flags->weights.add_to(app);
}

void add_address_flags(CLI::App* app, ServerFlags* flags) {
  app->add_option("--listen", flags->listen, "HOST:PORT for gRPC; port 0: any")
      ->check(not_empty())
      ->capture_default_str();
  app->add_option("--advertise-address", flags->advertise_address,
                  "HOST:PORT where others reach this; port 0: the one it listens on; default: "
                  "where it listens")
      ->check(not_empty());
  app->add_option("--metrics-listen", flags->metrics_listen,
                  "HOST:PORT of numbers for Prometheus; off: none")
      ->check(not_empty())
      ->capture_default_str();
}

void add_process_flags(CLI::App* app, ServerFlags* flags) {
  app->add_option("--threads", flags->threads, "Threads that compute; 0: all usable cores")
      ->check(CLI::Range(0, kMaxThreads))
      ->capture_default_str();
  app->add_flag("--pin-threads", flags->pin_threads,
                "One core for each thread that computes, from the first that this process may use");
  app->add_option("--instructions", flags->instructions,
                  "Kernels to use: avx2 gives the bits of an AVX2 machine anywhere")
      ->check(CLI::IsMember({"auto", "avx2", "avx512"}))
      ->capture_default_str();
  app->add_option("--drain-timeout", flags->drain_timeout_seconds,
                  "Most seconds from SIGTERM to the end")
      ->check(CLI::Range(0., kMaxDrainSeconds))
      ->capture_default_str();
  app->add_option("--log-level", flags->log_level, "Least level that is logged")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
  app->add_option("--ready-fd", flags->ready_fd,
                  "Descriptor that is told how far the start is, in lines of JSON")
      ->check(CLI::Range(0, 1 << 20));
}

}  // namespace

void ServerFlags::add_to(CLI::App* app, Kind kind) {
  app->add_option("--model", model, "Folder of the model")->required()->check(not_empty());
  app->add_option("--model-name", model_name, "What clients call it; default: the folder's name")
      ->check(not_empty());
  add_address_flags(app, this);
  if (kind == Kind::kNode) add_node_flags(app, this);
  add_process_flags(app, this);
}

absl::Status ServerFlags::apply() const {
  apply_log_level(log_level);
  ASSIGN_OR_RETURN(const HostPort bound, parse_flag("--listen", listen));
  if (!advertise_address.empty()) {
    ASSIGN_OR_RETURN(const HostPort told, parse_flag("--advertise-address", advertise_address));
    if (told.is_wildcard()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--advertise-address ", advertise_address, " is no place to reach"));
    }
  } else if (bound.is_wildcard()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--listen ", listen,
                     " is everywhere; --advertise-address says where others "
                     "reach this server"));
  }
  if (metrics_listen != "off") {
    RETURN_IF_ERROR(parse_flag("--metrics-listen", metrics_listen).status());
  }
  if (!control.empty()) RETURN_IF_ERROR(parse_flag("--control", control).status());
  return choose_instruction_class(instructions);
}

std::string ServerFlags::name_of_model() const {
  if (!model_name.empty()) return model_name;
  std::error_code error;
  const std::filesystem::path path = std::filesystem::canonical(model, error);
  return (error ? std::filesystem::path(model) : path).filename().string();
}

int32_t ServerFlags::num_threads() const { return threads == 0 ? num_usable_cores() : threads; }

std::string ServerFlags::advertised(const std::string& bound) const {
  if (advertise_address.empty()) return bound;
  absl::StatusOr<HostPort> told = parse_host_port(advertise_address);
  const absl::StatusOr<HostPort> here = parse_host_port(bound);
  if (!told.ok() || !here.ok()) return advertise_address;
  if (told->port == 0) told->port = here->port;
  return told->to_string();
}

std::string ServerFlags::advertised_metrics(const std::string& bound,
                                            const std::string& advertised) const {
  absl::StatusOr<HostPort> metrics = parse_host_port(bound);
  const absl::StatusOr<HostPort> services = parse_host_port(advertised);
  if (!metrics.ok() || !services.ok() || !metrics->is_wildcard()) return bound;
  metrics->host = services->host;
  return metrics->to_string();
}

}  // namespace conclave
