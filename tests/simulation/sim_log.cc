#include "tests/simulation/sim_log.h"

#include "absl/strings/str_format.h"

namespace conclave {

void SimLog::say(std::string_view who, std::string_view what) {
  lines_.push_back(absl::StrFormat("%10.3f ms  %-10s %s",
                                   absl::ToDoubleMilliseconds(time_->since_start()),
                                   std::string(who), std::string(what)));
  for (const char c : lines_.back()) {  // FNV-1a
    hash_ = (hash_ ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  }
}

void SimLog::violate(const std::string& what) {
  say("VIOLATION", what);
  violations_.push_back(lines_.back());
}

}  // namespace conclave
