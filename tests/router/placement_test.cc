// What a placement must keep:
//   - the even split is the one that expert servers load by (ExpertRange): e * n / E;
//   - dense layers and experts that nobody holds have no home;
//   - holders are listed as they were added, and the first of them is the home.

#include "router/placement.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace conclave {
namespace {

ModelConfig config_of(int32_t num_experts) {
  ModelConfig config{.num_layers = 7};
  config.moe.gate.num_experts = num_experts;
  config.moe.first_moe_layer = 2;
  config.moe.layer_freq = 2;
  return config;
}

TEST(Placement, EvenIsTheSplitOfExpertRange) {
  for (const int32_t num_experts : {1, 6, 32, 33, 256}) {
    for (const int32_t num_servers : {1, 2, 3, 5, 32, 300}) {
      const ModelConfig config = config_of(num_experts);
      const Placement placement = Placement::even(config, num_servers);
      ASSERT_EQ(placement.num_layers(), config.num_layers);
      ASSERT_EQ(placement.num_experts(), num_experts);
      for (const int32_t layer : {2, 4, 6}) {
        for (int32_t e = 0; e < num_experts; ++e) {
          const auto holders = placement.holders(layer, e);
          ASSERT_EQ(holders.size(), 1u);
          ASSERT_EQ(holders[0], ServerId{e * num_servers / num_experts});
        }
      }
    }
  }
}

TEST(Placement, EvenLoadsDifferByOneAtMost) {
  for (const int32_t num_servers : {1, 2, 3, 5, 7, 32}) {
    const Placement placement = Placement::even(config_of(32), num_servers);
    std::vector<int32_t> load(num_servers, 0);
    for (int32_t e = 0; e < 32; ++e) {
      ++load[static_cast<int32_t>(placement.holders(2, e).front())];
    }
    EXPECT_FALSE(placement.has_replicas());
    const auto [least, most] = std::minmax_element(load.begin(), load.end());
    EXPECT_LE(*most - *least, 1) << num_servers << " servers";
  }
}

TEST(Placement, DenseLayersHaveNobody) {
  const Placement placement = Placement::even(config_of(8), 2);
  for (const int32_t layer : {0, 1, 3, 5}) {
    for (int32_t e = 0; e < 8; ++e) {
      EXPECT_TRUE(placement.holders(layer, e).empty());
    }
  }
}

TEST(Placement, AModelWithoutExpertsHasNone) {
  const Placement placement = Placement::even(config_of(0), 3);
  EXPECT_EQ(placement.num_experts(), 0);
  EXPECT_TRUE(placement.servers().empty());
}

TEST(Placement, HoldersStayInOrderAndThoseThatDrainAreLast) {
  Placement placement(/*num_layers=*/2, /*num_experts=*/3, /*version=*/41);
  placement.add(1, 2, ServerId{9});
  EXPECT_FALSE(placement.has_replicas());
  placement.add(1, 2, ServerId{4}, /*draining=*/true);
  placement.add(0, 1, ServerId{7}, /*draining=*/true);
  EXPECT_EQ(placement.version(), 41);
  const auto holders = placement.holders(1, 2);
  EXPECT_EQ(std::vector<ServerId>(holders.begin(), holders.end()),
            (std::vector<ServerId>{ServerId{9}, ServerId{4}}));
  EXPECT_TRUE(placement.has_replicas());
  EXPECT_EQ(placement.num_steady(1, 2), 1u);
  EXPECT_EQ(placement.num_steady(0, 1), 0u);
  EXPECT_EQ(placement.servers(), (std::vector<ServerId>{ServerId{4}, ServerId{7}, ServerId{9}}));
}

TEST(Placement, ACopyIsItsOwn) {
  Placement placement(1, 1, 1);
  Placement copy = placement;
  copy.add(0, 0, ServerId{3});
  EXPECT_TRUE(placement.holders(0, 0).empty());
  EXPECT_EQ(copy.holders(0, 0).front(), ServerId{3});
}

TEST(PlacementDeathTest, PlacesOutsideAreOurMistake) {
  Placement placement(2, 3, 1);
  EXPECT_DEATH(placement.add(2, 0, ServerId{0}), "layer_idx");
  EXPECT_DEATH(placement.add(-1, 0, ServerId{0}), "layer_idx");
  EXPECT_DEATH(placement.holders(0, 3), "expert");
  EXPECT_DEATH(placement.holders(-1, 0), "layer_idx");
  placement.add(0, 0, ServerId{0}, /*draining=*/true);
  EXPECT_DEATH(placement.add(0, 0, ServerId{1}), "draining");
}

}  // namespace
}  // namespace conclave
