// Flags that the gateway, attention nodes and expert servers share.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/thread_pool.h"
#include "services/server/weights_flag.h"

namespace conclave {

struct ServerFlags {
  std::string model;       // a folder
  std::string model_name;  // empty: the folder's name
  std::string listen = "127.0.0.1:0";
  std::string advertise_address;  // empty: the bound address
  std::string metrics_listen = "127.0.0.1:0";
  std::string control;    // HOST:PORT; nodes only
  WeightsFlag weights;    // nodes only
  std::string server_id;  // empty: the advertised address; nodes only
  int32_t threads = 0;    // 0: the cores this process may use
  bool pin_threads = false;
  std::string instructions = "auto";
  double drain_timeout_seconds = 25;
  std::string log_level = "info";
  int32_t ready_fd = -1;  // see ready_line.h

  // A node registers with control: --control is required and --server-id is there. The gateway is
  // where they register.
  enum class Kind { kGateway, kNode };
  void add_to(CLI::App* app, Kind kind);

  // What CLI11 cannot say: addresses that cannot be, a wildcard without --advertise-address. Also
  // sets the log level and the instruction class of the process. Call it once, first of all.
  absl::Status apply() const;

  std::string name_of_model() const;
  int32_t num_threads() const;
  ThreadPool::Options pool() const { return {.num_threads = num_threads(), .pin = pin_threads}; }
  absl::Duration drain_timeout() const { return absl::Seconds(drain_timeout_seconds); }

  // Where others reach what is bound to `bound` here: --advertise-address, with the bound port
  // where its own is 0, or `bound`.
  std::string advertised(const std::string& bound) const;

  // The same for the metrics port: a wildcard host becomes the advertised one. Empty stays empty.
  std::string advertised_metrics(const std::string& bound, const std::string& advertised) const;

  std::string name_of_server(const std::string& advertised) const {
    return server_id.empty() ? advertised : server_id;
  }
};

}  // namespace conclave
