// EPLB as published:
//   - the plans of tests/data/eplb.json, slot by slot: the makers' own example, and one of the
//     global policy from an independent implementation;
//   - their max over mean as published.

#include "router/placement_plan/eplb.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "router/placement_plan/balance.h"

namespace conclave {
namespace {

nlohmann::json vectors() {
  std::ifstream file(std::string(CONCLAVE_SOURCE_DIR) + "/tests/data/eplb.json");
  return nlohmann::json::parse(file);
}

EplbShape shape_of(const nlohmann::json& plan) {
  return {.num_slots = plan["num_replicas"],
          .num_groups = plan["num_groups"],
          .num_nodes = plan["num_nodes"],
          .num_devices = plan["num_gpus"]};
}

double balance_of(const std::vector<int32_t>& slots, const std::vector<double>& load,
                  int32_t num_devices) {
  LayerHolders holders{.num_servers = num_devices, .of = {}};
  holders.of.resize(load.size());
  const size_t room = slots.size() / static_cast<size_t>(num_devices);
  for (size_t i = 0; i < slots.size(); ++i) {
    holders.of[static_cast<size_t>(slots[i])].push_back(static_cast<int32_t>(i / room));
  }
  return even_balance(holders, load);
}

class EplbTest : public testing::TestWithParam<const char*> {};

TEST_P(EplbTest, PlansAreThoseOfTheVectors) {
  const nlohmann::json all = vectors();
  const nlohmann::json& plan = all[GetParam()];
  const std::vector<std::vector<double>> loads = all["weights"];
  const std::vector<std::vector<int32_t>> expected = plan["phy2log"];
  ASSERT_EQ(loads.size(), expected.size());
  for (size_t layer = 0; layer < loads.size(); ++layer) {
    EXPECT_EQ(eplb(loads[layer], shape_of(plan)), expected[layer]) << "layer " << layer;
  }
}

INSTANTIATE_TEST_SUITE_P(Policies, EplbTest,
                         testing::Values("hierarchical", "global_by_own_reference"));

TEST(EplbBalanceTest, IsAsPublished) {
  const nlohmann::json all = vectors();
  const std::vector<std::vector<double>> loads = all["weights"];
  const EplbShape in_groups = shape_of(all["hierarchical"]);
  EXPECT_NEAR(balance_of(eplb(loads[0], in_groups), loads[0], 8), 1.2081, 5e-5);
  EXPECT_NEAR(balance_of(eplb(loads[1], in_groups), loads[1], 8), 1.2422, 5e-5);
  const EplbShape global = shape_of(all["global_by_own_reference"]);
  EXPECT_NEAR(balance_of(eplb(loads[0], global), loads[0], 8), 1.0726, 5e-5);
  EXPECT_NEAR(balance_of(eplb(loads[1], global), loads[1], 8), 1.1903, 5e-5);
}

TEST(BalancedPackTest, PacksAreFullAndTiesGoToTheFirst) {
  const Packing packing = balanced_pack(std::vector<double>{1, 1, 1, 1, 1, 1}, 3);
  EXPECT_EQ(packing.pack, (std::vector<int32_t>{0, 1, 2, 0, 1, 2}));
  EXPECT_EQ(packing.rank, (std::vector<int32_t>{0, 0, 0, 1, 1, 1}));
}

TEST(BalancedPackTest, OneItemAPackStaysInOrder) {
  EXPECT_EQ(balanced_pack(std::vector<double>{1, 3, 2}, 3).pack, (std::vector<int32_t>{0, 1, 2}));
}

TEST(ReplicateTest, TheLargestShareIsCopied) {
  EXPECT_EQ(replicate(std::vector<double>{4, 9, 4}, 6), (std::vector<int32_t>{0, 1, 2, 1, 1, 0}));
}

}  // namespace
}  // namespace conclave
