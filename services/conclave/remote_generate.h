// `conclave generate --server`: the same flags and the same output, from a cluster.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "services/conclave/flags.h"

namespace conclave {

struct RemoteGenerate {
  std::string server;  // HOST:PORT of a gateway
  PromptFlags prompt;
  SamplingFlags sampling;
  std::vector<std::string> stops;
  bool print_ids = false;
};

absl::Status generate_remotely(const RemoteGenerate& flags);

}  // namespace conclave
