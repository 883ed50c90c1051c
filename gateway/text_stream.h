// Ids become the client's text: decoded without special tokens, in whole characters, held back
// while it could still become a stop string, cut at the first one.
//
// The pieces, joined, are Tokenizer::decode() of all ids (skip_special) up to the stop string,
// however the ids are cut into batches. Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/incremental_decoder.h"
#include "model/tokenizer/stop_matcher.h"
#include "model/tokenizer/tokenizer.h"

namespace conclave {

class TextStream {
 public:
  // `tokenizer` outlives this. REQUIRES: no stop string is empty
  TextStream(const Tokenizer* tokenizer, std::vector<std::string> stops);

  // The text that may be shown after one more id; after a match, what stands before it.
  std::string push(int32_t id);

  // No more ids will come: the rest of the text. A stop string may match now that was complete
  // before, but waited for one that had begun earlier.
  std::string finish();

  bool matched() const { return matcher_.matched(); }

  // The stop string that was found.
  // REQUIRES: matched()
  const std::string& stop_string() const;

 private:
  std::string push_text(std::string_view text);
  void drop_shown(std::string_view shown);

  std::vector<std::string> stops_;
  IncrementalDecoder decoder_;
  StopMatcher matcher_;
  std::string held_;  // decoded and not shown; after a match it begins with the stop string
};

}  // namespace conclave
