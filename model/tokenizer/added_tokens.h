// Finds added tokens ("<|User|>" and its like) in raw text, before any word is cut.
//
// Of all matches the leftmost counts, and of those that begin at one place the longest. Tokens that
// the file calls `normalized: false` come first: the others are looked for only in the text between
// them.
//
// Immutable, so thread-safe. Time is linear in the text for a given set of tokens.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace conclave {

struct AddedToken {
  int32_t id = -1;
  std::string content;
  bool lstrip = false;  // the match takes in the white space before it
  bool rstrip = false;  // the same after it
  bool normalized = false;
};

class AddedTokens {
 public:
  // REQUIRES: no content is empty, none stands twice
  explicit AddedTokens(std::vector<AddedToken> tokens);

  struct Section {
    std::string_view text;
    int32_t id = -1;  // -1: text between added tokens
  };

  // `text` from left to right; no section is empty. REQUIRES: `text` is UTF-8
  std::vector<Section> split(std::string_view text) const;

 private:
  // The contents as a tree of bytes.
  struct Trie {
    std::array<bool, 256> can_begin{};
    absl::flat_hash_map<uint64_t, int32_t> children;  // node << 8 | byte -> node; the root is 0
    std::vector<int32_t> token_of_node{-1};           // index into tokens_, -1: none ends here

    void add(std::string_view content, int32_t token_idx);
    // The longest token at the beginning of `text`, -1: none.
    int32_t longest(std::string_view text) const;
  };

  void split_by(const Trie& trie, std::string_view text, std::vector<Section>* sections) const;

  const std::vector<AddedToken> tokens_;
  Trie raw_;
  Trie normalized_;
};

}  // namespace conclave
