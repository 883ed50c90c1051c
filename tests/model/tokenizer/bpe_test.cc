// Always the pair of lowest rank, the leftmost on ties: short and long words, against the plain
// loop.
#include "model/tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace conclave {
namespace {

// Bytes are ids 0 to 255. Only a, b and c have rules, so that these meet often.
BpeRules random_rules(std::mt19937* random, int32_t num_rules) {
  BpeRules rules;
  for (int32_t byte = 0; byte < 256; ++byte) rules.id_of_byte[byte] = byte;
  std::vector<int32_t> ids = {'a', 'b', 'c'};
  for (int32_t rank = 0; rank < num_rules; ++rank) {
    const int32_t left = ids[(*random)() % ids.size()];
    const int32_t right = ids[(*random)() % ids.size()];
    const int32_t merged = 256 + rank;
    if (rules.merges.try_emplace(pair_key(left, right), MergeRule{rank, merged}).second) {
      ids.push_back(merged);
    }
  }
  return rules;
}

std::vector<int32_t> merge_plainly(const BpeRules& rules, const std::string& word) {
  std::vector<int32_t> ids;
  for (char c : word) ids.push_back(rules.id_of_byte[static_cast<uint8_t>(c)]);
  while (true) {
    int32_t lowest = INT32_MAX;
    size_t place = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto rule = rules.merges.find(pair_key(ids[i], ids[i + 1]));
      if (rule == rules.merges.end() || rule->second.rank >= lowest) continue;
      lowest = rule->second.rank;
      place = i;
    }
    if (lowest == INT32_MAX) return ids;
    ids[place] = rules.merges.at(pair_key(ids[place], ids[place + 1])).merged_id;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(place) + 1);
  }
}

TEST(Bpe, EqualsThePlainLoop) {
  std::mt19937 random(5);
  for (int32_t i = 0; i < 2000; ++i) {
    const BpeRules rules = random_rules(&random, 1 + static_cast<int32_t>(random() % 40));
    const size_t num_letters = 1 + random() % 4;
    std::string word(random() % 130, ' ');
    for (char& c : word) c = static_cast<char>('a' + random() % num_letters);
    std::vector<int32_t> ids = {7};
    Bpe(rules).encode_word(word, &ids);
    ASSERT_EQ(ids[0], 7);
    ids.erase(ids.begin());
    ASSERT_EQ(ids, merge_plainly(rules, word)) << word;
  }
}

TEST(Bpe, WholeWordsComeBeforeMerges) {
  BpeRules rules;
  for (int32_t byte = 0; byte < 256; ++byte) rules.id_of_byte[byte] = byte;
  rules.merges[pair_key('a', 'b')] = {0, 256};
  rules.whole_words["abc"] = 300;
  std::vector<int32_t> ids;
  const Bpe bpe(rules);
  bpe.encode_word("abc", &ids);
  bpe.encode_word("abcd", &ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{300, 256, 'c', 'd'}));
}

}  // namespace
}  // namespace conclave
