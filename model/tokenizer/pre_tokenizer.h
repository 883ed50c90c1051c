// Cuts text into the words that BPE encodes one by one.
//
// A list of splits, each applied to every piece of the one before as if it were a text of its own,
// and the end of byte-level pre-tokenizing: a space put before each piece and one more split, both
// only where the file asks for them.
//
// Immutable, so thread-safe; a Scratch belongs to one thread.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "model/tokenizer/regex.h"

namespace conclave {

// What becomes of a match and of the text before and after it.
enum class SplitBehavior {
  kIsolated,            // a piece of its own
  kRemoved,             // gone
  kMergedWithPrevious,  // the end of the piece before
  kMergedWithNext,      // the beginning of the piece after
  kContiguous,          // one piece with the matches that touch it
};

struct Split {
  Regex regex;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;  // matches and the text between them change roles
};

struct PreTokenizerSteps {
  std::vector<Split> splits;
  bool add_prefix_space = false;
  std::optional<Split> byte_level_split;
};

class PreTokenizer {
 public:
  explicit PreTokenizer(PreTokenizerSteps steps) : steps_(std::move(steps)) {}

  struct Scratch {
    std::vector<std::string_view> words;  // the result
    std::vector<std::string_view> pieces;
    std::deque<std::string> prefixed;  // owns words that are no part of the text
    Regex::Scratch regex;
  };

  // Puts the words of `text` into scratch->words; they live as long as `text` and until the next
  // call with this scratch. REQUIRES: `text` is UTF-8
  absl::Status split(std::string_view text, Scratch* scratch) const;

 private:
  static absl::Status apply(const Split& split, Scratch* scratch);
  static void add_prefix_spaces(Scratch* scratch);

  const PreTokenizerSteps steps_;
};

}  // namespace conclave
