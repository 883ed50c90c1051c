#include "model/weights/weight_types.h"

#include <array>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "model/config/json_reader.h"

namespace conclave {
namespace {

struct NamedGroup {
  WeightGroup group;
  std::string_view name;
  std::optional<DType> WeightTypes::*type;
};

constexpr std::array<NamedGroup, 4> kGroups = {{
    {WeightGroup::kExperts, "experts", &WeightTypes::experts},
    {WeightGroup::kShared, "shared", &WeightTypes::shared},
    {WeightGroup::kAttention, "attention", &WeightTypes::attention},
    {WeightGroup::kHead, "head", &WeightTypes::head},
}};

const NamedGroup* find_group(WeightGroup group) {
  for (const NamedGroup& known : kGroups) {
    if (known.group == group) return &known;
  }
  return nullptr;
}

std::string word_of(const std::optional<DType>& type) {
  return type ? std::string(dtype_name(*type)) : "stored";
}

absl::Status cannot_be(absl::string_view word, absl::string_view why) {
  const std::string shown = printable(std::string_view(word.data(), word.size()));
  return absl::InvalidArgumentError(absl::StrCat("\"", shown, "\" ", why));
}

absl::StatusOr<std::optional<DType>> parse_type(absl::string_view word) {
  if (word == "stored") return std::optional<DType>();
  const std::optional<DType> dtype = parse_dtype(std::string_view(word.data(), word.size()));
  if (dtype) return dtype;
  return cannot_be(word,
                   "is no type of weights: stored, int8, or what is stored (f32, f16, bf16, "
                   "fp8)");
}

absl::StatusOr<const NamedGroup*> parse_group(absl::string_view word) {
  for (const NamedGroup& known : kGroups) {
    if (word == absl::string_view(known.name.data(), known.name.size())) return &known;
  }
  return cannot_be(word, "is no group of weights: experts, shared, attention or head");
}

}  // namespace

std::string_view weight_group_name(WeightGroup group) {
  const NamedGroup* const known = find_group(group);
  return known == nullptr ? "" : known->name;
}

std::optional<DType> WeightTypes::of(WeightGroup group) const {
  const NamedGroup* const known = find_group(group);
  return known == nullptr ? std::nullopt : this->*known->type;
}

void WeightTypes::set(WeightGroup group, std::optional<DType> dtype) {
  const NamedGroup* const known = find_group(group);
  CHECK(known != nullptr);
  this->*known->type = dtype;
}

std::string WeightTypes::experts_to_string() const { return word_of(experts); }

std::string WeightTypes::trunk_to_string() const {
  std::string text;
  for (const NamedGroup& known : kGroups) {
    const std::optional<DType>& type = this->*known.type;
    if (known.group == WeightGroup::kExperts || !type) continue;
    absl::StrAppend(&text, text.empty() ? "" : ",", std::string(known.name), "=", word_of(type));
  }
  return text.empty() ? "stored" : text;
}

absl::StatusOr<WeightTypes> parse_weight_types(std::string_view text) {
  WeightTypes types;
  std::vector<const NamedGroup*> named;
  bool first = true;
  for (const absl::string_view item :
       absl::StrSplit(absl::string_view(text.data(), text.size()), ',')) {
    const size_t equals = item.find('=');
    if (equals == absl::string_view::npos) {
      if (!first) return cannot_be(item, "stands behind other words: one for all groups is first");
      ASSIGN_OR_RETURN(const std::optional<DType> type, parse_type(item));
      for (const NamedGroup& known : kGroups) types.*known.type = type;
    } else {
      ASSIGN_OR_RETURN(const NamedGroup* const group, parse_group(item.substr(0, equals)));
      for (const NamedGroup* other : named) {
        if (other == group) return cannot_be(item.substr(0, equals), "is named twice");
      }
      named.push_back(group);
      ASSIGN_OR_RETURN(types.*group->type, parse_type(item.substr(equals + 1)));
      types.head_is_named = types.head_is_named || group->group == WeightGroup::kHead;
    }
    first = false;
  }
  return types;
}

}  // namespace conclave
