// Some experts of some layers: what an expert server holds, what is missing in a cluster. A plain
// value of L x E bits. Control goes through those of all servers whenever something moves, so sets
// are joined, compared and walked by words.
#pragma once

#include <bit>
#include <cstddef>
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
    for (size_t word = 0; word < words_.size(); ++word) {
      for (uint64_t left = words_[word]; left != 0; left &= left - 1) {
        const auto at = static_cast<int32_t>(word * kWordBits) + std::countr_zero(left);
        what(at / num_experts_, at % num_experts_);
      }
    }
  }

  // What is in this and not in `other`, or in both; `other` is of the same shape.
  ExpertSet minus(const ExpertSet& other) const;
  ExpertSet intersect(const ExpertSet& other) const;

  // "layers 1-3: experts 0-15; layer 4: expert 7", for people; "none" when empty.
  std::string to_string() const;

  bool operator==(const ExpertSet& other) const = default;

 private:
  static constexpr size_t kWordBits = 64;

  void check_shape(const ExpertSet& other) const;
  void count();
  size_t place(int32_t layer_idx, int32_t expert) const;

  int32_t num_layers_ = 0;
  int32_t num_experts_ = 0;
  int64_t size_ = 0;
  std::vector<uint64_t> words_;  // [ceil(L * E / 64)] bits in the order of for_each(), then zeros
};

}  // namespace conclave
