// Some experts of some layers: what an expert server holds, what is missing in a cluster. A plain
// value of L x E bits.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/config/model_config.h"

namespace conclave {

// Which experts of every MoE layer a shard holds: shard i of n holds expert e where
// e * n / E == i, the same in every layer.
struct ExpertRange {
  int32_t shard_idx = 0;
  int32_t num_shards = 1;
};

// Experts [first, first + count) of a layer.
struct ExpertSpan {
  int32_t first = 0;
  int32_t count = 0;
};

class ExpertSet {
 public:
  ExpertSet() = default;
  ExpertSet(int32_t num_layers, int32_t num_experts);

  // Every expert of every MoE layer.
  static ExpertSet all(const ModelConfig& config);

  // What shard i of n holds: see ExpertRange.
  static absl::StatusOr<ExpertSet> shard(const ModelConfig& config, const ExpertRange& range);

  // Parts separated by semicolons, each "0/2" (shard 0 of 2), or layers and experts,
  // "3-10:0-31,40"; all numbers from 0 and ranges inclusive. INVALID_ARGUMENT quoting what cannot
  // be.
  static absl::StatusOr<ExpertSet> parse(std::string_view text, const ModelConfig& config);

  // REQUIRES for these: 0 <= layer_idx < num_layers, 0 <= expert < num_experts
  void insert(int32_t layer_idx, int32_t expert);
  bool contains(int32_t layer_idx, int32_t expert) const;

  // REQUIRES: `other` is of the same shape
  void insert_all(const ExpertSet& other);

  // A layer's experts as ranges that ascend without touching.
  std::vector<ExpertSpan> spans(int32_t layer_idx) const;

  int64_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  int32_t num_layers() const { return num_layers_; }
  int32_t num_experts() const { return num_experts_; }

  // Calls `what(layer_idx, expert)` for each, by ascending layers, in each by ascending experts.
  template <typename What>
  void for_each(const What& what) const {
    for (int32_t layer = 0; layer < num_layers_; ++layer) {
      for (int32_t expert = 0; expert < num_experts_; ++expert) {
        if (contains(layer, expert)) what(layer, expert);
      }
    }
  }

  // What is in this and not in `other`, or in both; `other` is of the same shape.
  ExpertSet minus(const ExpertSet& other) const;
  ExpertSet intersect(const ExpertSet& other) const { return minus(minus(other)); }

  // "layers 1-3: experts 0-15; layer 4: expert 7", for people; "none" when empty.
  std::string to_string() const;

  bool operator==(const ExpertSet& other) const = default;

 private:
  size_t place(int32_t layer_idx, int32_t expert) const;

  int32_t num_layers_ = 0;
  int32_t num_experts_ = 0;
  int64_t size_ = 0;
  std::vector<bool> holds_;  // [L * E]
};

}  // namespace conclave
