// EPLB, the published balancer of experts over equal devices: as a yardstick for plan_placement()
// and as a policy of its own. Written after its description: spec/moe.md, section 6.
//
// It plans every layer for itself from the layer's loads alone. It knows nothing of servers of
// different size and of what they hold already, and may put two copies of an expert on one device.
// An expert's load is split evenly over its copies.
//
// Pure; E log E + R * E for a layer.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace conclave {

struct EplbShape {
  int32_t num_slots = 0;    // R, of all devices together, of one layer
  int32_t num_groups = 1;   // G, of experts; neighbours in number
  int32_t num_nodes = 1;    // N
  int32_t num_devices = 1;  // P
};

// w[n] into packs of as many items each.
struct Packing {
  std::vector<int32_t> pack;  // [n]
  std::vector<int32_t> rank;  // [n] place in its pack
};

// Heaviest first, each into the lightest pack that is not full.
// REQUIRES: num_packs > 0 and weights.size() % num_packs == 0
Packing balanced_pack(std::span<const double> weights, int32_t num_packs);

// [num_slots] the expert of every slot: every expert once, in order, then again and again whichever
// has the largest share of load a copy.
// REQUIRES: 0 < load.size() <= num_slots
std::vector<int32_t> replicate(std::span<const double> load, int32_t num_slots);

// [R] the expert of every slot; device p has the slots [p * R / P, (p + 1) * R / P). Groups are
// kept on a node each where G % N == 0; else G and N do not matter. REQUIRES: all of the shape
// positive, R % P == 0, P % N == 0, E % G == 0, R % N == 0, R >= E > 0
std::vector<int32_t> eplb(std::span<const double> load, const EplbShape& shape);

}  // namespace conclave
