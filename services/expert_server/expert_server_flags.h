// Flags of an expert server.
#pragma once

#include <cstdint>
#include <string>

#include "CLI/CLI.hpp"
#include "services/server/server_flags.h"
#include "services/server/transport_flags.h"

namespace conclave {

struct ExpertServerFlags {
  ServerFlags server;
  std::string experts;  // "0/2" or "3-10:0-31,40;11:0-63" (ExpertSet::parse()), "auto", "auto:0/2"
  int32_t max_queued_legs = 4096;
  int32_t max_batch_picks = 8192;
  uint64_t capacity_bytes = 0;  // for expert weights; 0: the memory available at the start
  bool overcommit = false;
  TransportFlags transport;

  void add_to(CLI::App* app);
};

}  // namespace conclave
