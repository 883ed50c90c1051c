// How much every expert is asked lately: counts of picks that fade with time, for plan_placement().
//
// A pick counts half after every half-life, so that load() is what was picked at a steady rate of
// late. Whoever routes feeds its own counts; control feeds what servers tell. Units cancel in a
// plan.
//
// A plain value: copy it, one thread at a time. Adding costs what is added; fading is one factor
// for all, put into the numbers only when it grows large, L * E then.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/time/time.h"

namespace conclave {

class ExpertLoadStats {
 public:
  struct Options {
    absl::Duration half_life = absl::Seconds(60);  // positive
  };

  ExpertLoadStats(int32_t num_layers, int32_t num_experts, Options options);
  ExpertLoadStats(int32_t num_layers, int32_t num_experts)
      : ExpertLoadStats(num_layers, num_experts, Options{}) {}

  // Picks since the last call, at `now`. A time before one that was seen counts as that one, so
  // that a clock that is set back neither fades nor blows up anything. Negative deltas count as
  // none.
  // REQUIRES: deltas is [E], or [L * E]; 0 <= layer_idx < L
  void add_layer(int32_t layer_idx, std::span<const int64_t> deltas, absl::Time now);
  void add(std::span<const int64_t> deltas, absl::Time now);

  // [L * E] the faded counts as they stand at `now`; all 0 where nothing was ever picked.
  std::vector<double> load(absl::Time now) const;

  // As they stood at the last call of add().
  std::vector<double> load() const { return load(latest_); }

  int32_t num_layers() const { return num_layers_; }
  int32_t num_experts() const { return num_experts_; }

 private:
  double half_lives_since_base(absl::Time now) const;
  double advance(absl::Time now);
  void add_at(size_t first, std::span<const int64_t> deltas, double worth);

  int32_t num_layers_;
  int32_t num_experts_;
  Options options_;
  absl::Time base_ = absl::InfinitePast();    // when 1 in counts_ is worth one pick
  absl::Time latest_ = absl::InfinitePast();  // that was seen
  std::vector<double> counts_;                // [L * E]
};

}  // namespace conclave
