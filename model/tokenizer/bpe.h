// Byte-pair encoding of one word.
//
// A word begins as one token a byte. Of all neighbours that have a merge rule the pair with the
// lowest rank is merged, the leftmost on ties, until no rule applies.
//
// Immutable, so thread-safe. Words of n bytes: n^2 steps without touching the heap while they are
// short, n log n with 20 bytes a byte of word when they are long, so one word may be megabytes.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace conclave {

struct MergeRule {
  int32_t rank = 0;
  int32_t merged_id = 0;
};

// The rules, keyed by the pair they merge.
using MergeTable = absl::flat_hash_map<uint64_t, MergeRule>;

inline uint64_t pair_key(int32_t left_id, int32_t right_id) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left_id)) << 32 |
         static_cast<uint32_t>(right_id);
}

struct BpeRules {
  std::array<int32_t, 256> id_of_byte{};  // -1: none
  MergeTable merges;
  // Words that are one token whatever the merges say; empty unless the file says ignore_merges.
  absl::flat_hash_map<std::string, int32_t> whole_words;
};

class Bpe {
 public:
  explicit Bpe(BpeRules rules) : rules_(std::move(rules)) {}

  // Appends the tokens of `word` to `ids`.
  // REQUIRES: every byte of `word` has an id, word.size() <= INT32_MAX
  void encode_word(std::string_view word, std::vector<int32_t>* ids) const;

 private:
  int32_t id_of_byte(char byte) const;
  const MergeRule* rule_of(int32_t left_id, int32_t right_id) const;
  void encode_short_word(std::string_view word, std::vector<int32_t>* ids) const;
  void encode_long_word(std::string_view word, std::vector<int32_t>* ids) const;

  const BpeRules rules_;
};

}  // namespace conclave
