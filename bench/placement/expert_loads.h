// Made loads of experts that change from step to step, by kind: what plan_placement() and EPLB are
// held against in tests and benchmarks.
//
//   zipf      the expert of rank k has 1 / k^exponent; every layer ranks its experts anew
//   drifting  zipf 1, and every step a twentieth of a layer's experts swap ranks among themselves
//   bursty    zipf 0.8, and every step three experts each in a quarter of the layers are asked ten
//             times as much, for that step
//
// The same seed makes the same loads, with the same standard library.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace conclave {

enum class LoadKind : uint8_t { kZipf, kDrifting, kBursty };

struct LoadSpec {
  LoadKind kind = LoadKind::kZipf;
  double exponent = 1.0;
  int32_t num_layers = 58;
  int32_t num_experts = 256;
  uint32_t seed = 1;
};

class ExpertLoads {
 public:
  explicit ExpertLoads(const LoadSpec& spec);

  const std::vector<double>& load() const { return load_; }  // [L * E]
  void advance();

 private:
  void swap_ranks();
  void burst();
  double* layer(int32_t layer_idx) { return base_.data() + layer_idx * spec_.num_experts; }

  const LoadSpec spec_;
  std::mt19937 rng_;
  std::vector<double> base_;  // [L * E] without bursts
  std::vector<double> load_;
};

// "zipf 0.8", "drifting", "bursty"
std::string name_of(const LoadSpec& spec);

// The five that are measured.
std::vector<LoadSpec> all_load_specs();

}  // namespace conclave
