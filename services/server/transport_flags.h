// Flags of those who send legs or are sent them.
#pragma once

#include <cstdint>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/time/time.h"

namespace conclave {

struct TransportFlags {
  std::string transport = "auto";
  int32_t spin_us = 0;

  void add_to_sender(CLI::App* app);    // auto, grpc or shm
  void add_to_receiver(CLI::App* app);  // auto or grpc

  absl::Duration spin() const { return absl::Microseconds(spin_us); }
};

}  // namespace conclave
