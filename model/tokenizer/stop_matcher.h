// Cuts a stream of text at the first stop string.
//
// Text that may be the beginning of a stop string is held back until it is decided. The stop string
// itself is never emitted. The earliest match wins; of two that begin at one place, the one that is
// complete first. Not thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace conclave {

class StopMatcher {
 public:
  // REQUIRES: no stop string is empty
  explicit StopMatcher(std::vector<std::string> stops);

  // Text that may be shown now. After a match it is the text before it, and matched() says so;
  // everything pushed later is dropped.
  std::string push(std::string_view text);

  // The stream ended without a match: what was held back may be shown.
  std::string finish();

  bool matched() const { return matched_; }

 private:
  const std::vector<std::string> stops_;
  std::string held_;
  bool matched_ = false;
};

}  // namespace conclave
