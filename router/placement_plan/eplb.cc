#include "router/placement_plan/eplb.h"

#include <algorithm>
#include <numeric>

#include "common/check.h"

namespace conclave {
namespace {

std::vector<double> gather(std::span<const double> values, std::span<const int32_t> at) {
  std::vector<double> gathered;
  for (const int32_t i : at) gathered.push_back(values[static_cast<size_t>(i)]);
  return gathered;
}

std::vector<double> group_loads(std::span<const double> load, int32_t num_groups) {
  const size_t group_size = load.size() / static_cast<size_t>(num_groups);
  std::vector<double> sums(static_cast<size_t>(num_groups), 0.0);
  for (size_t e = 0; e < load.size(); ++e) sums[e / group_size] += load[e];
  return sums;
}

// [N][E / N] the experts of every node, group after group.
std::vector<std::vector<int32_t>> experts_of_nodes(std::span<const double> load, int32_t num_groups,
                                                   int32_t num_nodes) {
  const Packing groups = balanced_pack(group_loads(load, num_groups), num_nodes);
  const auto group_size = static_cast<int32_t>(load.size()) / num_groups;
  std::vector<std::vector<int32_t>> nodes(static_cast<size_t>(num_nodes),
                                          std::vector<int32_t>(load.size() / num_nodes));
  for (int32_t g = 0; g < num_groups; ++g) {
    std::vector<int32_t>& node = nodes[groups.pack[g]];
    std::iota(node.begin() + groups.rank[g] * group_size,
              node.begin() + (groups.rank[g] + 1) * group_size, g * group_size);
  }
  return nodes;
}

}  // namespace

Packing balanced_pack(std::span<const double> weights, int32_t num_packs) {
  CHECK(num_packs > 0);
  const size_t m = static_cast<size_t>(num_packs);
  CHECK(weights.size() % m == 0);
  const auto room = static_cast<int32_t>(weights.size() / m);
  Packing packing{std::vector<int32_t>(weights.size()), std::vector<int32_t>(weights.size(), 0)};
  std::vector<int32_t> order(weights.size());
  std::iota(order.begin(), order.end(), 0);
  if (room == 1) {
    packing.pack = order;
    return packing;
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return weights[a] > weights[b]; });
  std::vector<double> sum(m, 0.0);
  std::vector<int32_t> count(m, 0);
  for (const int32_t item : order) {
    int32_t best = -1;
    for (int32_t p = 0; p < num_packs; ++p) {
      if (count[p] < room && (best < 0 || sum[p] < sum[best])) best = p;
    }
    packing.pack[item] = best;
    packing.rank[item] = count[best]++;
    sum[best] += weights[item];
  }
  return packing;
}

std::vector<int32_t> replicate(std::span<const double> load, int32_t num_slots) {
  CHECK(!load.empty());
  CHECK(static_cast<size_t>(num_slots) >= load.size());
  std::vector<int32_t> slots(load.size());
  std::iota(slots.begin(), slots.end(), 0);
  std::vector<double> count(load.size(), 1.0);
  while (slots.size() < static_cast<size_t>(num_slots)) {
    size_t hottest = 0;
    for (size_t e = 1; e < load.size(); ++e) {
      if (load[e] / count[e] > load[hottest] / count[hottest]) hottest = e;
    }
    slots.push_back(static_cast<int32_t>(hottest));
    ++count[hottest];
  }
  return slots;
}

std::vector<int32_t> eplb(std::span<const double> load, const EplbShape& shape) {
  CHECK(shape.num_groups > 0 && shape.num_nodes > 0 && shape.num_devices > 0);
  CHECK(shape.num_slots % shape.num_devices == 0);
  CHECK(load.size() % static_cast<size_t>(shape.num_groups) == 0);
  const bool in_groups = shape.num_groups % shape.num_nodes == 0;
  const int32_t num_nodes = in_groups ? shape.num_nodes : 1;
  CHECK(shape.num_devices % num_nodes == 0);
  CHECK(shape.num_slots % num_nodes == 0);
  const int32_t node_slots = shape.num_slots / num_nodes;
  const int32_t node_devices = shape.num_devices / num_nodes;
  const int32_t device_slots = shape.num_slots / shape.num_devices;

  std::vector<int32_t> expert_of_slot(static_cast<size_t>(shape.num_slots));
  int32_t first_slot = 0;
  for (const auto& experts : experts_of_nodes(load, in_groups ? shape.num_groups : 1, num_nodes)) {
    const std::vector<double> node_load = gather(load, experts);
    const std::vector<int32_t> copies = replicate(node_load, node_slots);
    std::vector<double> num_copies(experts.size(), 0.0);
    for (const int32_t e : copies) ++num_copies[e];
    std::vector<double> share;
    for (const int32_t e : copies) share.push_back(node_load[e] / num_copies[e]);
    const Packing devices = balanced_pack(share, node_devices);
    for (size_t i = 0; i < copies.size(); ++i) {
      expert_of_slot[first_slot + devices.pack[i] * device_slots + devices.rank[i]] =
          experts[copies[i]];
    }
    first_slot += node_slots;
  }
  return expert_of_slot;
}

}  // namespace conclave
