// Flags of an attention node.
#pragma once

#include <cstdint>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/time/time.h"
#include "attention/attention_stack.h"
#include "common/dtype.h"
#include "services/local/model_folder.h"
#include "services/server/server_flags.h"
#include "services/server/transport_flags.h"

namespace conclave {

struct NodeFlags {
  ServerFlags server;
  std::string routing = "local";  // or "gateway"
  std::string wire_out = "bf16";
  std::string wire_back = "bf16";
  std::string cache_dtype = "bf16";
  int32_t cache_tokens = 65536;
  int32_t prefill_chunk = 512;
  int32_t max_running = 64;
  std::string overlap = "auto";  // "on" or "off"
  int32_t max_requests = 1024;
  double leg_timeout_seconds = 10;
  bool overcommit = false;
  TransportFlags transport;

  void add_to(CLI::App* app);

  bool routes_here() const { return routing == "local"; }
  absl::Duration leg_timeout() const { return absl::Seconds(leg_timeout_seconds); }
  AttentionStack::Options stack_options(const ModelFolder& folder) const;
};

}  // namespace conclave
