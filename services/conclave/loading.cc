#include "services/conclave/loading.h"

#include <unistd.h>

#include <cstdio>
#include <string>

#include "common/host_memory.h"
#include "services/conclave/message.h"

namespace conclave {

LocalModel::Listener loading_on_stderr(const std::string& doing, const std::string& done) {
  LocalModel::Listener listener;
  listener.say = [](std::string_view text) {
    std::fprintf(stderr, "%s\n", one_line(text).c_str());
  };
  const bool terminal = isatty(STDERR_FILENO) == 1;
  listener.progress = [terminal, doing, said = done](std::string_view part, uint64_t done,
                                                     uint64_t total) {
    if (terminal) {
      std::fprintf(stderr, "\r%s %s: %s of %s\033[K%s", doing.c_str(), one_line(part).c_str(),
                   format_bytes(done).c_str(), format_bytes(total).c_str(),
                   done == total ? "\n" : "");
    } else if (done == total) {
      std::fprintf(stderr, "%s %s: %s\n", said.c_str(), one_line(part).c_str(),
                   format_bytes(total).c_str());
    }
  };
  return listener;
}

RequestLimits limits_of(const ModelFolder& folder, const LocalModel::Options& options) {
  return {.vocab_size = folder.config.vocab_size,
          .max_positions = folder.config.max_positions,
          .cache_tokens = rounded_cache_tokens(options)};
}

}  // namespace conclave
