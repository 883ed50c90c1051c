// What a set of experts must keep:
//   - the shards of a model are disjoint and make the whole, however many there are;
//   - what is parsed is what was written, and what cannot be is refused quoting it;
//   - spans ascend without touching and say the set.

#include "model/weights/expert_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <set>
#include <utility>

namespace conclave {
namespace {

using testing::HasSubstr;

ModelConfig config_of(int32_t num_experts) {
  ModelConfig config{.num_layers = 4};
  config.moe.gate.num_experts = num_experts;
  config.moe.first_moe_layer = 1;
  return config;
}

TEST(ExpertSet, ShardsAreDisjointAndMakeTheWhole) {
  for (const int32_t num_experts : {1, 6, 33, 256}) {
    const ModelConfig config = config_of(num_experts);
    for (int32_t n = 1; n <= std::min(num_experts, 7); ++n) {
      ExpertSet left = ExpertSet::all(config);
      EXPECT_EQ(left.size(), 3 * num_experts);
      for (int32_t i = 0; i < n; ++i) {
        const auto shard = ExpertSet::shard(config, {i, n});
        ASSERT_TRUE(shard.ok()) << shard.status();
        EXPECT_EQ(left.minus(*shard).size(), left.size() - shard->size());
        left = left.minus(*shard);
      }
      EXPECT_TRUE(left.empty());
    }
  }
}

TEST(ExpertSet, ShardsThatCannotBe) {
  for (const ExpertRange& range :
       {ExpertRange{0, 0}, ExpertRange{-1, 2}, ExpertRange{2, 2}, ExpertRange{0, 25}}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ExpertSet::shard(config_of(24), range).status()));
  }
}

TEST(ExpertSet, ParsesListsOfLayersAndExperts) {
  const ModelConfig config = config_of(8);
  const auto set = ExpertSet::parse("1-2:0-2,5;3:7", config);
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->size(), 9);
  for (const int32_t layer : {1, 2}) {
    for (const int32_t expert : {0, 1, 2, 5}) EXPECT_TRUE(set->contains(layer, expert));
    EXPECT_FALSE(set->contains(layer, 3));
  }
  EXPECT_TRUE(set->contains(3, 7));
  EXPECT_EQ(set->to_string(), "layers 1-2: experts 0-2,5; layer 3: experts 7");
  EXPECT_EQ(*ExpertSet::parse("1/3", config), *ExpertSet::shard(config, {1, 3}));
  EXPECT_EQ(*ExpertSet::parse("1-3:0-7", config), ExpertSet::all(config));
  EXPECT_EQ(*ExpertSet::parse("0/2;1/2", config), ExpertSet::all(config));
  EXPECT_EQ(ExpertSet::parse("0/2;1:4,0", config)->size(), 3 * 4 + 1) << "some are named twice";
  EXPECT_EQ(ExpertSet(4, 8).to_string(), "none");
}

TEST(ExpertSet, RefusesWhatCannotBe) {
  for (const char* text :
       {"",      "1",      "2/2",   "-1/2", "0/0",           "0/9",   "1:",     ":1",
        "1:2:3", "1:8",    "4:0",   "0:1",  "2-1:0",         "1:3-2", "1:0-",   "1:a",
        "1:0;",  "1:0,,1", "1/2/3", "1:-1", "99999999999:0", "0/2;",  "0/2;2/2"}) {
    const auto set = ExpertSet::parse(text, config_of(8));
    EXPECT_TRUE(absl::IsInvalidArgument(set.status())) << text << ": " << set.status();
  }
  EXPECT_THAT(std::string(ExpertSet::parse("0:1", config_of(8)).status().message()),
              HasSubstr("layer 0 has no routed experts"));
}

TEST(ExpertSet, SpansSayTheSet) {
  ExpertSet set(2, 10);
  for (const int32_t expert : {9, 0, 1, 4, 1}) set.insert(1, expert);
  EXPECT_EQ(set.size(), 4);
  const std::vector<ExpertSpan> spans = set.spans(1);
  ASSERT_EQ(spans.size(), 3u);
  EXPECT_EQ(spans[0].first, 0);
  EXPECT_EQ(spans[0].count, 2);
  EXPECT_EQ(spans[1].first, 4);
  EXPECT_EQ(spans[1].count, 1);
  EXPECT_EQ(spans[2].first, 9);
  EXPECT_TRUE(set.spans(0).empty());
}

// Against a plain set of pairs, over shapes that do and do not end with a word.
TEST(ExpertSet, IsWhatASetOfPairsIs) {
  using Pairs = std::set<std::pair<int32_t, int32_t>>;
  std::mt19937 random(1);
  for (const auto& [num_layers, num_experts] :
       {std::pair{0, 0}, {3, 0}, {1, 1}, {4, 8}, {1, 64}, {3, 43}, {5, 64}, {7, 100}}) {
    std::array<ExpertSet, 2> sets = {ExpertSet(num_layers, num_experts),
                                     ExpertSet(num_layers, num_experts)};
    std::array<Pairs, 2> pairs;
    for (int32_t i = 0; i < num_layers * num_experts; ++i) {
      const auto layer = static_cast<int32_t>(random() % static_cast<uint32_t>(num_layers));
      const auto expert = static_cast<int32_t>(random() % static_cast<uint32_t>(num_experts));
      sets.at(i % 2).insert(layer, expert);
      pairs.at(i % 2).insert({layer, expert});
    }
    const auto pairs_of = [](const ExpertSet& set) {
      std::vector<std::pair<int32_t, int32_t>> seen;
      set.for_each([&](int32_t layer, int32_t expert) { seen.emplace_back(layer, expert); });
      EXPECT_EQ(seen.size(), static_cast<size_t>(set.size()));
      EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
      return Pairs(seen.begin(), seen.end());
    };
    Pairs either = pairs[0];
    either.insert(pairs[1].begin(), pairs[1].end());
    Pairs less;
    Pairs both;
    for (const auto& pair : pairs[0]) (pairs[1].contains(pair) ? both : less).insert(pair);
    ExpertSet joined = sets[0];
    joined.insert_all(sets[1]);
    EXPECT_EQ(pairs_of(sets[0]), pairs[0]);
    EXPECT_EQ(pairs_of(joined), either);
    EXPECT_EQ(pairs_of(sets[0].minus(sets[1])), less);
    EXPECT_EQ(pairs_of(sets[0].intersect(sets[1])), both);
    for (const auto& [layer, expert] : pairs[0]) EXPECT_TRUE(sets[0].contains(layer, expert));
  }
}

}  // namespace
}  // namespace conclave
