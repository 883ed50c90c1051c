// Random legs for the tests of transports.
#pragma once

#include <cstddef>
#include <random>
#include <vector>

#include "kernels/row_codec.h"
#include "router/arrived_leg.h"

namespace conclave {

inline std::vector<std::byte> random_bytes(size_t count, std::mt19937* rng) {
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>((*rng)());
  return bytes;
}

inline constexpr DType kRowTypes[] = {DType::kF32, DType::kBF16, DType::kF8E4M3};

// Any leg of the right shape; its picks need not make sense.
inline ArrivedLeg random_leg(std::mt19937* rng) {
  const auto below = [&](uint32_t end) { return static_cast<int32_t>((*rng)() % end); };
  ArrivedLeg leg;
  leg.layer_idx = below(100);
  leg.placement_version = static_cast<int64_t>((*rng)()) << below(32);
  leg.reply_type = below(2) == 0 ? DType::kF32 : DType::kBF16;
  leg.hidden.dtype = kRowTypes[below(3)];
  leg.hidden.num_rows = below(5);
  leg.hidden.num_cols = 1 + below(300);
  leg.hidden.bytes = random_bytes(static_cast<size_t>(leg.hidden.num_rows) *
                                      packed_row_bytes(leg.hidden.dtype, leg.hidden.num_cols),
                                  rng);
  leg.pick_begin.push_back(0);
  for (int32_t m = 0; m < leg.hidden.num_rows; ++m) {
    leg.pick_begin.push_back(leg.pick_begin.back() + 1 + below(3));
  }
  for (int32_t p = 0; p < leg.pick_begin.back(); ++p) leg.pick_expert.push_back(below(256));
  return leg;
}

}  // namespace conclave
