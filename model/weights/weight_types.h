// In which number format the weights of a server are, group by group: what --weights says.
//
//     stored                    all as in the checkpoint (the default)
//     int8                      every group quantised at load, int8 with scales
//     (kernels/quantise.h) experts=int8,head=stored  group by group; what is not named stays as
//     stored int8,head=stored          all groups, then the exceptions
//
// Only int8 is made at load. Another format may be asked for where it is what is stored, which
// checks a checkpoint rather than changes it. Embedding, norms, gates and kv_b_proj belong to no
// group and stay as stored (docs/models.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/dtype.h"

namespace conclave {

enum class WeightGroup {
  kFixed,      // always as stored
  kExperts,    // routed experts
  kShared,     // shared experts and dense MLPs
  kAttention,  // projections but kv_b_proj
  kHead,
};

// "experts", "shared", "attention", "head"; "" for kFixed.
std::string_view weight_group_name(WeightGroup group);

struct WeightTypes {
  std::optional<DType> experts;  // nothing: as stored
  std::optional<DType> shared;
  std::optional<DType> attention;
  std::optional<DType> head;
  bool head_is_named = false;  // by itself, and not with all the others

  std::optional<DType> of(WeightGroup group) const;
  void set(WeightGroup group, std::optional<DType> dtype);

  // "stored" or the format's word: what an expert server computes with.
  std::string experts_to_string() const;

  // The other groups, which attention nodes compute with: "stored", or those that are not, as
  // "attention=int8,head=int8".
  std::string trunk_to_string() const;

  bool operator==(const WeightTypes&) const = default;
};

// INVALID_ARGUMENT quoting the word that cannot be.
absl::StatusOr<WeightTypes> parse_weight_types(std::string_view text);

}  // namespace conclave
