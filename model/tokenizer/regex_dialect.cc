#include "model/tokenizer/regex_dialect.h"

#include "common/status_macros.h"

namespace conclave {
namespace {

constexpr std::string_view kWordCharacters = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
// Outside of a class Oniguruma counts Latin-1's superscripts and fractions in, and only there.
constexpr std::string_view kMoreWordCharacters = "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}";

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  absl::StatusOr<std::string> translate() {
    while (at_ < pattern_.size()) RETURN_IF_ERROR(take_item());
    if (in_class_) return refuse("a class without its end");
    return std::move(out_);
  }

 private:
  std::string_view rest() const { return pattern_.substr(at_); }

  absl::Status refuse(std::string_view what) const {
    return absl::UnimplementedError("regular expression: " + std::string(what) + " at byte " +
                                    std::to_string(at_));
  }

  absl::Status copy(size_t num_bytes) {
    out_ += rest().substr(0, num_bytes);
    at_ += num_bytes;
    return absl::OkStatus();
  }

  absl::Status replace(size_t num_bytes, std::string_view by) {
    out_ += by;
    at_ += num_bytes;
    return absl::OkStatus();
  }

  absl::Status take_item() {
    if (rest()[0] == '\\') return take_escape();
    return in_class_ ? take_in_class() : take_outside();
  }

  absl::Status take_outside() {
    switch (rest()[0]) {
      case '[':
        return open_class();
      case '(':
        return take_group();
      case '{':
        return take_count();
      default:
        return copy(1);
    }
  }

  absl::Status open_class() {
    in_class_ = true;
    RETURN_IF_ERROR(copy(rest().starts_with("[^") ? 2 : 1));
    return rest().starts_with(']') ? refuse("a class that begins with ]") : absl::OkStatus();
  }

  absl::Status take_in_class() {
    if (rest()[0] == '[') return refuse("a class inside a class");
    if (rest().starts_with("&&")) return refuse("&& inside a class");
    if (rest()[0] == ']') in_class_ = false;
    return copy(1);
  }

  absl::Status take_group() {
    for (std::string_view known : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"}) {
      if (rest().starts_with(known)) return copy(known.size());
    }
    if (rest().starts_with("(?") || rest().starts_with("(*")) return refuse("this kind of group");
    return copy(1);
  }

  // {n}, {n,} and {n,m}. What follows must not change how greedy they are: there the dialects
  // differ.
  absl::Status take_count() {
    size_t end = 1;
    while (end < rest().size() && is_digit(rest()[end])) ++end;
    if (end == 1) return refuse("{ without a number");
    if (end < rest().size() && rest()[end] == ',') ++end;
    while (end < rest().size() && is_digit(rest()[end])) ++end;
    if (end == rest().size() || rest()[end] != '}') return refuse("{ that is no count");
    RETURN_IF_ERROR(copy(end + 1));
    if (rest().starts_with('+') || rest().starts_with('?')) return refuse("+ or ? after a count");
    return absl::OkStatus();
  }

  absl::Status take_escape() {
    if (rest().size() < 2) return refuse("a single backslash");
    const char kind = rest()[1];
    switch (kind) {
      case 's':
        return replace(2, "\\p{White_Space}");
      case 'S':
        return replace(2, "\\P{White_Space}");
      case 'w':
        return take_word_class();
      case 'p':
      case 'P':
        return take_property();
      case 'x':
        return take_code_point();
      case 'd':
      case 'D':
      case 't':
      case 'r':
      case 'n':
      case 'f':
        return copy(2);
      default:
        break;
    }
    if (is_letter(kind) || is_digit(kind)) return refuse(std::string("\\") + kind);
    return copy(2);  // an escaped sign; of a longer character the other bytes follow by themselves
  }

  absl::Status take_word_class() {
    const std::string characters(kWordCharacters);
    if (in_class_) return replace(2, characters);
    return replace(2, "[" + characters + std::string(kMoreWordCharacters) + "]");
  }

  absl::Status take_code_point() {
    const size_t end = rest().find('}');
    if (!rest().starts_with("\\x{") || end == std::string_view::npos)
      return refuse("\\x without {}");
    return copy(end + 1);
  }

  // General categories have one or two letters and are the same in both; longer names are scripts.
  absl::Status take_property() {
    const size_t end = rest().find('}');
    if (rest().size() < 3 || rest()[2] != '{' || end == std::string_view::npos) {
      return refuse("\\p without {}");
    }
    const bool is_negated = rest().substr(3).starts_with('^');
    const size_t name_begin = is_negated ? 4 : 3;
    const std::string name(rest().substr(name_begin, end - name_begin));
    for (char c : name) {
      if (!is_letter(c) && c != '_') return refuse("property " + name);
    }
    if (name.empty()) return refuse("a property without a name");
    const std::string head = std::string(rest().substr(0, 3)) + (is_negated ? "^" : "");
    return replace(end + 1, head + (name.size() <= 2 ? "" : "sc:") + name + "}");
  }

  const std::string_view pattern_;
  size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
};

}  // namespace

absl::StatusOr<std::string> to_pcre2_pattern(std::string_view pattern) {
  // A run that fails from its first blank fails from all others too, so nothing is lost by trying
  // the first alone.
  if (pattern == "\\s+$") return "(?<!\\p{White_Space})\\p{White_Space}+$";
  return Translator(pattern).translate();
}

}  // namespace conclave
