// What is held may come in parts and go one by one: what is asked for is there until it is removed,
// so is its memory, whoever came with it, and an expert that comes twice is the first one.

#include "experts/held_experts.h"

#include <gtest/gtest.h>

#include "tests/experts/random_experts.h"

namespace conclave {
namespace {

ExpertSet experts_of_layer(int32_t layer_idx, std::initializer_list<int32_t> experts) {
  ExpertSet set(3, kNumExperts);
  for (const int32_t expert : experts) set.insert(layer_idx, expert);
  return set;
}

TEST(HeldExperts, NothingAtFirst) {
  const HeldExperts held(3, kNumExperts);
  for (int32_t layer = -1; layer <= 3; ++layer) {
    for (int32_t e = -1; e <= kNumExperts; ++e) EXPECT_EQ(held.find(layer, e), nullptr);
  }
}

TEST(HeldExperts, PartsComeAndGo) {
  RandomExperts random;
  HeldExperts held(3, kNumExperts);
  auto part = random.make_part(experts_of_layer(1, {2, 5}));
  const std::weak_ptr<const RoutedExpert> second = part->layers[1][2];
  const std::weak_ptr<const RoutedExpert> fifth = part->layers[1][5];
  const FfnWeights* const first = part->find(1, 2);
  held.add(*std::exchange(part, nullptr));
  held.add(*random.make_part(experts_of_layer(1, {2, 6})));
  EXPECT_EQ(held.find(1, 2), first);
  EXPECT_NE(held.find(1, 6), nullptr);
  EXPECT_EQ(held.find(2, 2), nullptr);

  held.remove(experts_of_layer(1, {2, 7}));
  EXPECT_EQ(held.find(1, 2), nullptr);
  EXPECT_NE(held.find(1, 5), nullptr);
  EXPECT_TRUE(second.expired()) << "its memory is not given back";
  EXPECT_FALSE(fifth.expired());
  held.remove(experts_of_layer(1, {5}));
  EXPECT_TRUE(fifth.expired());
}

}  // namespace
}  // namespace conclave
