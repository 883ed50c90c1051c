#include "model/tokenizer/bpe.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "common/check.h"

namespace conclave {
namespace {

constexpr size_t kShortWordBytes = 40;
constexpr int32_t kNoRank = std::numeric_limits<int32_t>::max();

// A long word's tokens as a linked list, so that a merge moves nothing. A token keeps the place of
// its first byte.
struct Symbol {
  int32_t id;    // -1: merged into the one before
  int32_t prev;  // -1: the first
  int32_t next;  // -1: the last
};

// Pairs waiting to be merged: rank in the high half, place in the low one, so that the smallest
// number is the lowest rank and of those the leftmost.
class PairQueue {
 public:
  explicit PairQueue(size_t capacity) { keys_.reserve(capacity); }

  bool empty() const { return keys_.empty(); }
  void push(int32_t rank, int32_t place) {
    keys_.push_back(static_cast<uint64_t>(rank) << 32 | static_cast<uint32_t>(place));
    std::push_heap(keys_.begin(), keys_.end(), std::greater<>());
  }
  uint64_t pop() {
    std::pop_heap(keys_.begin(), keys_.end(), std::greater<>());
    const uint64_t key = keys_.back();
    keys_.pop_back();
    return key;
  }

 private:
  std::vector<uint64_t> keys_;
};

}  // namespace

int32_t Bpe::id_of_byte(char byte) const {
  const int32_t id = rules_.id_of_byte[static_cast<uint8_t>(byte)];
  CHECK(id >= 0);
  return id;
}

const MergeRule* Bpe::rule_of(int32_t left_id, int32_t right_id) const {
  const auto found = rules_.merges.find(pair_key(left_id, right_id));
  return found == rules_.merges.end() ? nullptr : &found->second;
}

void Bpe::encode_word(std::string_view word, std::vector<int32_t>* ids) const {
  CHECK(word.size() <= static_cast<size_t>(std::numeric_limits<int32_t>::max()));
  if (!rules_.whole_words.empty()) {
    const auto found = rules_.whole_words.find(absl::string_view(word.data(), word.size()));
    if (found != rules_.whole_words.end()) return ids->push_back(found->second);
  }
  if (word.size() <= kShortWordBytes) {
    encode_short_word(word, ids);
  } else {
    encode_long_word(word, ids);
  }
}

void Bpe::encode_short_word(std::string_view word, std::vector<int32_t>* ids) const {
  std::array<int32_t, kShortWordBytes + 1> tokens;
  std::array<MergeRule, kShortWordBytes + 1> rules;  // rules[i] merges tokens i and i + 1
  size_t num_tokens = word.size();
  const auto look_up = [&](size_t i) {
    const MergeRule* rule = rule_of(tokens[i], tokens[i + 1]);
    rules[i] = rule != nullptr ? *rule : MergeRule{kNoRank, -1};
  };
  for (size_t i = 0; i < num_tokens; ++i) tokens[i] = id_of_byte(word[i]);
  for (size_t i = 0; i + 1 < num_tokens; ++i) look_up(i);
  while (num_tokens > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < num_tokens; ++i) {
      if (rules[i].rank < rules[best].rank) best = i;
    }
    if (rules[best].rank == kNoRank) break;
    tokens[best] = rules[best].merged_id;
    std::copy(&tokens[best + 2], &tokens[num_tokens], &tokens[best + 1]);
    std::copy(&rules[best + 1], &rules[num_tokens], &rules[best]);
    --num_tokens;
    if (best > 0) look_up(best - 1);
    if (best + 1 < num_tokens) look_up(best);
  }
  ids->insert(ids->end(), tokens.begin(), tokens.begin() + num_tokens);
}

void Bpe::encode_long_word(std::string_view word, std::vector<int32_t>* ids) const {
  const int32_t num_bytes = static_cast<int32_t>(word.size());
  std::vector<Symbol> symbols(word.size());
  PairQueue queue(word.size());
  const auto offer = [&](int32_t place) {
    if (place < 0 || symbols[place].next < 0) return;
    const MergeRule* rule = rule_of(symbols[place].id, symbols[symbols[place].next].id);
    if (rule != nullptr) queue.push(rule->rank, place);
  };
  for (int32_t i = 0; i < num_bytes; ++i) {
    symbols[i] = {id_of_byte(word[i]), i - 1, i + 1 < num_bytes ? i + 1 : -1};
  }
  for (int32_t i = 0; i < num_bytes; ++i) offer(i);

  while (!queue.empty()) {
    const uint64_t key = queue.pop();
    Symbol& left = symbols[key & 0xFFFFFFFF];
    if (left.id < 0 || left.next < 0) continue;
    Symbol& right = symbols[left.next];
    // The pair at this place may have changed since it was queued.
    const MergeRule* rule = rule_of(left.id, right.id);
    if (rule == nullptr || static_cast<uint64_t>(rule->rank) != key >> 32) continue;
    left.id = rule->merged_id;
    left.next = right.next;
    if (right.next >= 0) symbols[right.next].prev = static_cast<int32_t>(key & 0xFFFFFFFF);
    right.id = -1;
    offer(left.prev);
    offer(static_cast<int32_t>(key & 0xFFFFFFFF));
  }
  for (int32_t at = 0; at >= 0; at = symbols[at].next) ids->push_back(symbols[at].id);
}

}  // namespace conclave
