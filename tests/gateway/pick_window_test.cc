// Recent picks are those since the older of two samples: what was before the first telling, or more
// than a window ago, is not among them. Imbalance is max over mean, 0 without picks.

#include "gateway/pick_window.h"

#include <gtest/gtest.h>

namespace conclave {
namespace {

TEST(PickWindow, TheFirstTellingIsNoRecentPick) {
  PickWindow window;
  EXPECT_EQ(window.recent(0), 0);
  window.record({1000, 2000});
  EXPECT_EQ(window.recent(0), 0);
  window.record({1010, 2001});
  EXPECT_EQ(window.recent(0), 10);
  EXPECT_EQ(window.recent(1), 1);
  EXPECT_EQ(window.recent(2), 0);
}

TEST(PickWindow, TwoRollsForget) {
  PickWindow window;
  window.record({0});
  window.record({5});
  window.roll();
  window.record({7});
  EXPECT_EQ(window.recent(0), 7);
  window.roll();
  EXPECT_EQ(window.recent(0), 2);
  window.roll();
  EXPECT_EQ(window.recent(0), 0);
}

TEST(PickWindow, RollsBeforeTheFirstTellingAreHarmless) {
  PickWindow window;
  window.roll();
  window.roll();
  window.record({3});
  window.record({});
  window.record({1, 2});
  EXPECT_EQ(window.recent(0), 0);
  window.record({4});
  EXPECT_EQ(window.recent(0), 1);
}

TEST(PickWindow, ACounterThatFallsIsNoPick) {
  PickWindow window;
  window.record({100});
  window.record({3});
  EXPECT_EQ(window.recent(0), 0);
}

TEST(Imbalance, IsMaxOverMean) {
  EXPECT_EQ(imbalance({}), 0);
  EXPECT_EQ(imbalance(std::vector<int64_t>{0, 0}), 0);
  EXPECT_EQ(imbalance(std::vector<int64_t>{7}), 1);
  EXPECT_EQ(imbalance(std::vector<int64_t>{4, 4, 4}), 1);
  EXPECT_EQ(imbalance(std::vector<int64_t>{8, 0}), 2);
  EXPECT_EQ(imbalance(std::vector<int64_t>{6, 2, 1}), 2);
}

}  // namespace
}  // namespace conclave
