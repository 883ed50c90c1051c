// Cuts a stream of text at the first stop string.
//
// Text that may be the beginning of a stop string is held back until it is decided. The stop string
// itself is never emitted. The earliest match wins; of two that begin at one place, the one that is
// complete first. How the stream is cut into pieces makes no difference. Not thread-safe.
//
// Linear in the text for each stop string; holds back less than the longest of them.
#pragma once

#include <cstdint>
#include <optional>
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

  // The stream ended: what was held back may be shown. A stop string that was complete, but waited
  // for one that began before it, is a match now.
  std::string finish();

  bool matched() const { return matched_; }

 private:
  // One stop string and how much of it the stream ends with (Knuth, Morris and Pratt).
  struct Stop {
    explicit Stop(std::string text);
    // Goes on by one byte; true where that completes the stop string.
    bool advance(char byte);

    std::string text;
    std::vector<size_t> fallback;  // [text.size() + 1] the longest proper border of each beginning
    size_t num_matched = 0;        // < text.size()
  };

  // Where the earliest stop string begins that may still become complete; position_ where none may.
  size_t earliest_candidate() const;
  // Takes what is held back up to `position` in the stream.
  std::string release(size_t position);

  std::vector<Stop> stops_;
  std::string held_;             // the stream from position_ - held_.size() to position_
  size_t position_ = 0;          // bytes of the stream so far
  std::optional<size_t> found_;  // where the earliest complete stop string begins
  bool matched_ = false;
};

}  // namespace conclave
