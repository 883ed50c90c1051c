#include "model/weights/expert_set.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/check.h"
#include "common/status_macros.h"

namespace conclave {
namespace {

// Numbers first..last, both of them in.
struct Span {
  int32_t first = 0;
  int32_t last = 0;
};

absl::Status cannot_be(absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("experts \"", text, "\": ", why));
}

// "7" or "3-10", below `end`.
absl::StatusOr<Span> parse_span(absl::string_view text, int32_t end, absl::string_view what) {
  const std::vector<absl::string_view> ends = absl::StrSplit(text, '-');
  Span span;
  if (ends.size() > 2 || !absl::SimpleAtoi(ends.front(), &span.first) ||
      !absl::SimpleAtoi(ends.back(), &span.last) || span.first < 0 || span.first > span.last) {
    return cannot_be(text, absl::StrCat("not a number or a range of ", what));
  }
  if (span.last >= end) {
    return cannot_be(text, absl::StrCat("the model's ", what, " are 0 to ", end - 1));
  }
  return span;
}

// "3-10:0-31,40"
absl::Status insert_layers(absl::string_view text, const ModelConfig& config, ExpertSet* set) {
  const std::vector<absl::string_view> sides = absl::StrSplit(text, ':');
  if (sides.size() != 2) return cannot_be(text, "takes LAYERS:EXPERTS");
  ASSIGN_OR_RETURN(const Span layers, parse_span(sides[0], config.num_layers, "layers"));
  for (const absl::string_view item : absl::StrSplit(sides[1], ',')) {
    ASSIGN_OR_RETURN(const Span experts, parse_span(item, config.moe.gate.num_experts, "experts"));
    for (int32_t layer = layers.first; layer <= layers.last; ++layer) {
      if (!config.is_moe_layer(layer)) {
        return cannot_be(text, absl::StrCat("layer ", layer, " has no routed experts"));
      }
      for (int32_t expert = experts.first; expert <= experts.last; ++expert) {
        set->insert(layer, expert);
      }
    }
  }
  return absl::OkStatus();
}

std::string spans_to_string(const std::vector<ExpertSpan>& spans) {
  std::string text;
  for (const ExpertSpan& span : spans) {
    absl::StrAppend(&text, text.empty() ? "" : ",", span.first);
    if (span.count > 1) absl::StrAppend(&text, "-", span.first + span.count - 1);
  }
  return text;
}

}  // namespace

ExpertSet::ExpertSet(int32_t num_layers, int32_t num_experts)
    : num_layers_(num_layers), num_experts_(num_experts) {
  CHECK(num_layers >= 0);
  CHECK(num_experts >= 0);
  const size_t num_bits = static_cast<size_t>(num_layers) * static_cast<size_t>(num_experts);
  words_.resize((num_bits + kWordBits - 1) / kWordBits);
}

ExpertSet ExpertSet::all(const ModelConfig& config) {
  ExpertSet set(config.num_layers, config.moe.gate.num_experts);
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    if (!config.is_moe_layer(layer)) continue;
    for (int32_t expert = 0; expert < set.num_experts_; ++expert) set.insert(layer, expert);
  }
  return set;
}

absl::StatusOr<ExpertSet> ExpertSet::shard(const ModelConfig& config, const ExpertRange& range) {
  const int64_t num_experts = config.moe.gate.num_experts;
  if (range.num_shards < 1 || range.num_shards > std::max<int64_t>(num_experts, 1) ||
      range.shard_idx < 0 || range.shard_idx >= range.num_shards) {
    return absl::InvalidArgumentError(absl::StrCat("shard ", range.shard_idx, " of ",
                                                   range.num_shards, " is no part of ", num_experts,
                                                   " experts"));
  }
  ExpertSet set(config.num_layers, config.moe.gate.num_experts);
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    if (!config.is_moe_layer(layer)) continue;
    for (int32_t e = 0; e < num_experts; ++e) {
      if (int64_t{e} * range.num_shards / num_experts == range.shard_idx) set.insert(layer, e);
    }
  }
  return set;
}

absl::StatusOr<ExpertSet> ExpertSet::parse(std::string_view text, const ModelConfig& config) {
  ExpertSet set(config.num_layers, config.moe.gate.num_experts);
  for (const absl::string_view item :
       absl::StrSplit(absl::string_view(text.data(), text.size()), ';')) {
    const std::vector<absl::string_view> parts = absl::StrSplit(item, '/');
    ExpertRange range;
    if (parts.size() == 2 && absl::SimpleAtoi(parts[0], &range.shard_idx) &&
        absl::SimpleAtoi(parts[1], &range.num_shards)) {
      ASSIGN_OR_RETURN(const ExpertSet part, shard(config, range));
      set.insert_all(part);
    } else {
      RETURN_IF_ERROR(insert_layers(item, config, &set));
    }
  }
  return set;
}

size_t ExpertSet::place(int32_t layer_idx, int32_t expert) const {
  CHECK(layer_idx >= 0 && layer_idx < num_layers_);
  CHECK(expert >= 0 && expert < num_experts_);
  return static_cast<size_t>(layer_idx) * static_cast<size_t>(num_experts_) +
         static_cast<size_t>(expert);
}

void ExpertSet::insert(int32_t layer_idx, int32_t expert) {
  const size_t at = place(layer_idx, expert);
  const uint64_t bit = uint64_t{1} << (at % kWordBits);
  if ((words_[at / kWordBits] & bit) == 0) ++size_;
  words_[at / kWordBits] |= bit;
}

bool ExpertSet::contains(int32_t layer_idx, int32_t expert) const {
  const size_t at = place(layer_idx, expert);
  return (words_[at / kWordBits] >> (at % kWordBits) & 1) != 0;
}

void ExpertSet::check_shape(const ExpertSet& other) const {
  CHECK(num_layers_ == other.num_layers_);
  CHECK(num_experts_ == other.num_experts_);
}

void ExpertSet::count() {
  size_ = 0;
  for (const uint64_t word : words_) size_ += std::popcount(word);
}

void ExpertSet::insert_all(const ExpertSet& other) {
  check_shape(other);
  for (size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
  count();
}

ExpertSet ExpertSet::minus(const ExpertSet& other) const {
  check_shape(other);
  ExpertSet left = *this;
  for (size_t i = 0; i < words_.size(); ++i) left.words_[i] &= ~other.words_[i];
  left.count();
  return left;
}

ExpertSet ExpertSet::intersect(const ExpertSet& other) const {
  check_shape(other);
  ExpertSet both = *this;
  for (size_t i = 0; i < words_.size(); ++i) both.words_[i] &= other.words_[i];
  both.count();
  return both;
}

std::vector<ExpertSpan> ExpertSet::spans(int32_t layer_idx) const {
  std::vector<ExpertSpan> spans;
  for (int32_t expert = 0; expert < num_experts_; ++expert) {
    if (!contains(layer_idx, expert)) continue;
    if (!spans.empty() && spans.back().first + spans.back().count == expert) {
      ++spans.back().count;
    } else {
      spans.push_back({.first = expert, .count = 1});
    }
  }
  return spans;
}

// Neighbouring layers with the same experts are said together.
std::string ExpertSet::to_string() const {
  std::string text;
  for (int32_t layer = 0; layer < num_layers_;) {
    const std::string experts = spans_to_string(spans(layer));
    int32_t end = layer + 1;
    while (end < num_layers_ && spans_to_string(spans(end)) == experts) ++end;
    if (!experts.empty()) {
      absl::StrAppend(&text, text.empty() ? "" : "; ", end - layer > 1 ? "layers " : "layer ",
                      layer);
      if (end - layer > 1) absl::StrAppend(&text, "-", end - 1);
      absl::StrAppend(&text, ": experts ", experts);
    }
    layer = end;
  }
  return text.empty() ? "none" : text;
}

}  // namespace conclave
