// What happened in a simulated world, line by line, and what must not have happened.
//
// Lines are kept for whoever replays a seed; their hash says whether two runs were the same.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/simulation/virtual_time.h"

namespace conclave {

class SimLog {
 public:
  // `time` outlives this.
  explicit SimLog(const VirtualTime* time) : time_(time) {}

  void say(std::string_view who, std::string_view what);

  // An invariant does not hold.
  void violate(const std::string& what);

  const std::vector<std::string>& lines() const { return lines_; }
  const std::vector<std::string>& violations() const { return violations_; }
  uint64_t hash() const { return hash_; }

 private:
  const VirtualTime* const time_;
  std::vector<std::string> lines_;
  std::vector<std::string> violations_;
  uint64_t hash_ = 0xcbf29ce484222325u;
};

}  // namespace conclave
