#include "model/tokenizer/pre_tokenizer_json.h"

#include <utility>

#include "common/status_macros.h"

namespace conclave {
namespace {

constexpr int32_t kMaxDepth = 8;
constexpr size_t kMaxSplits = 64;

// What ByteLevel cuts at where use_regex is set (GPT-2's pattern).
constexpr std::string_view kByteLevelPattern =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

class Reader {
 public:
  absl::Status read(const Json& step, const std::string& where, int32_t depth) {
    RETURN_IF_ERROR(expect_object(step, where));
    if (depth > kMaxDepth) return unimplemented_at(where, "sequences nested deeper than 8");
    // Behind ByteLevel the text is units, which our splits do not see.
    if (has_byte_level_) return unimplemented_at(where, "a step after ByteLevel");
    ASSIGN_OR_RETURN(const std::string type, string_field(step, "type", where));
    if (type == "Sequence") return read_sequence(step, where, depth);
    if (type == "ByteLevel") return read_byte_level(step, where);
    if (steps_.splits.size() == kMaxSplits) return unimplemented_at(where, "more than 64 steps");
    if (type == "Split") return read_split(step, where);
    if (type == "Digits") return read_digits(step, where);
    return unimplemented_at(where, "pre-tokenizer " + quote(type));
  }

  absl::StatusOr<PreTokenizerSteps> finish(const std::string& where) && {
    if (!has_byte_level_) return unimplemented_at(where, "no ByteLevel step");
    return std::move(steps_);
  }

 private:
  absl::Status read_sequence(const Json& step, const std::string& where, int32_t depth) {
    ASSIGN_OR_RETURN(const Json* items, array_field(step, "pretokenizers", where));
    for (size_t i = 0; i < items->size(); ++i) {
      const std::string item_where = where + ".pretokenizers[" + std::to_string(i) + "]";
      RETURN_IF_ERROR(read((*items)[i], item_where, depth + 1));
    }
    return absl::OkStatus();
  }

  absl::Status read_byte_level(const Json& step, const std::string& where) {
    has_byte_level_ = true;
    ASSIGN_OR_RETURN(steps_.add_prefix_space, bool_field(step, "add_prefix_space", true, where));
    ASSIGN_OR_RETURN(const bool use_regex, bool_field(step, "use_regex", true, where));
    if (!use_regex) return absl::OkStatus();
    ASSIGN_OR_RETURN(Regex regex, Regex::compile(kByteLevelPattern));
    steps_.byte_level_split = Split{std::move(regex)};
    return absl::OkStatus();
  }

  absl::Status read_split(const Json& step, const std::string& where) {
    ASSIGN_OR_RETURN(const Json* pattern, object_field(step, "pattern", where));
    const bool is_literal = pattern->contains("String");
    ASSIGN_OR_RETURN(const std::string text,
                     string_field(*pattern, is_literal ? "String" : "Regex", where + ".pattern"));
    if (text.empty()) return invalid_at(where, "an empty pattern");
    absl::StatusOr<Regex> regex = is_literal ? Regex::compile_literal(text) : Regex::compile(text);
    if (!regex.ok()) return at(where + ".pattern " + quote(text), regex.status());
    ASSIGN_OR_RETURN(const SplitBehavior behavior, read_behavior(step, where));
    ASSIGN_OR_RETURN(const bool invert, bool_field(step, "invert", false, where));
    steps_.splits.push_back({*std::move(regex), behavior, invert});
    return absl::OkStatus();
  }

  static absl::StatusOr<SplitBehavior> read_behavior(const Json& step, const std::string& where) {
    static constexpr std::pair<std::string_view, SplitBehavior> kBehaviors[] = {
        {"Isolated", SplitBehavior::kIsolated},
        {"Removed", SplitBehavior::kRemoved},
        {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
        {"MergedWithNext", SplitBehavior::kMergedWithNext},
        {"Contiguous", SplitBehavior::kContiguous}};
    ASSIGN_OR_RETURN(const std::string name, string_field(step, "behavior", where));
    for (const auto& [known, behavior] : kBehaviors) {
      if (name == known) return behavior;
    }
    return unimplemented_at(where, "behavior " + quote(name));
  }

  absl::Status read_digits(const Json& step, const std::string& where) {
    ASSIGN_OR_RETURN(const bool one_by_one, bool_field(step, "individual_digits", false, where));
    ASSIGN_OR_RETURN(Regex regex, Regex::compile("\\p{N}"));
    const SplitBehavior behavior =
        one_by_one ? SplitBehavior::kIsolated : SplitBehavior::kContiguous;
    steps_.splits.push_back({std::move(regex), behavior});
    return absl::OkStatus();
  }

  PreTokenizerSteps steps_;
  bool has_byte_level_ = false;
};

}  // namespace

absl::StatusOr<PreTokenizerSteps> read_pre_tokenizer(const Json& document,
                                                     const std::string& where) {
  ASSIGN_OR_RETURN(const Json* field, object_field(document, "pre_tokenizer", where));
  Reader reader;
  RETURN_IF_ERROR(reader.read(*field, where + ": pre_tokenizer", 0));
  return std::move(reader).finish(where + ": pre_tokenizer");
}

}  // namespace conclave
