#include "model/tokenizer/pre_tokenizer.h"

#include "common/status_macros.h"
#include "model/tokenizer/utf8.h"

namespace conclave {
namespace {

// Receives a piece's matches and the gaps between them, from left to right, and puts out words.
class Cutter {
 public:
  Cutter(const Split& split, std::string_view piece, std::vector<std::string_view>* words)
      : split_(split), piece_(piece), words_(words) {}

  void take(size_t begin, size_t end, bool is_match) {
    is_match = is_match != split_.invert;
    if (is_match && split_.behavior == SplitBehavior::kRemoved) {
      flush();
      begin_ = end;
    } else if (!joins_previous(is_match)) {
      flush();
      begin_ = begin;
    }
    end_ = end;
    previous_was_match_ = is_match;
    is_first_ = false;
  }

  void flush() {
    if (end_ > begin_) words_->push_back(piece_.substr(begin_, end_ - begin_));
    begin_ = end_;
  }

 private:
  bool joins_previous(bool is_match) const {
    if (is_first_) return false;
    switch (split_.behavior) {
      case SplitBehavior::kIsolated:
      case SplitBehavior::kRemoved:
        return false;
      case SplitBehavior::kMergedWithPrevious:
        return is_match && !previous_was_match_;
      case SplitBehavior::kMergedWithNext:
        return !is_match && previous_was_match_;
      case SplitBehavior::kContiguous:
        return is_match == previous_was_match_;
    }
    return false;
  }

  const Split& split_;
  const std::string_view piece_;
  std::vector<std::string_view>* const words_;
  size_t begin_ = 0;  // of the word that is growing
  size_t end_ = 0;
  bool previous_was_match_ = false;
  bool is_first_ = true;
};

// Walks through `piece` match by match. An empty match right behind another match does not count.
absl::Status cut(const Split& split, std::string_view piece, Regex::Scratch* scratch,
                 std::vector<std::string_view>* words) {
  Cutter cutter(split, piece, words);
  size_t done = 0;
  size_t from = 0;
  bool has_match = false;
  while (from <= piece.size()) {
    ASSIGN_OR_RETURN(const std::optional<Regex::Match> match,
                     split.regex.find(piece, from, scratch));
    if (!match.has_value()) break;
    if (match->begin == match->end && has_match && match->end == done) {
      if (from == piece.size()) break;
      from += next_utf8(piece.substr(from)).num_bytes;
      continue;
    }
    if (match->begin > done) cutter.take(done, match->begin, /*is_match=*/false);
    cutter.take(match->begin, match->end, /*is_match=*/true);
    done = from = match->end;
    has_match = true;
  }
  if (done < piece.size()) cutter.take(done, piece.size(), /*is_match=*/false);
  cutter.flush();
  return absl::OkStatus();
}

}  // namespace

absl::Status PreTokenizer::split(std::string_view text, Scratch* scratch) const {
  scratch->prefixed.clear();
  scratch->words.clear();
  if (text.empty()) return absl::OkStatus();
  scratch->words.push_back(text);
  for (const Split& split : steps_.splits) RETURN_IF_ERROR(apply(split, scratch));
  if (steps_.add_prefix_space) add_prefix_spaces(scratch);
  if (steps_.byte_level_split) RETURN_IF_ERROR(apply(*steps_.byte_level_split, scratch));
  return absl::OkStatus();
}

absl::Status PreTokenizer::apply(const Split& split, Scratch* scratch) {
  scratch->pieces.clear();
  scratch->pieces.swap(scratch->words);
  for (std::string_view piece : scratch->pieces) {
    RETURN_IF_ERROR(cut(split, piece, &scratch->regex, &scratch->words));
  }
  return absl::OkStatus();
}

void PreTokenizer::add_prefix_spaces(Scratch* scratch) {
  for (std::string_view& word : scratch->words) {
    if (word.starts_with(' ')) continue;
    word = scratch->prefixed.emplace_back(" " + std::string(word));
  }
}

}  // namespace conclave
