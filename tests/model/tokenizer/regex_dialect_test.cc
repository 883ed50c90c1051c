// A pattern of tokenizer.json means in PCRE2 what it means in Oniguruma, or it is refused.
#include "model/tokenizer/regex_dialect.h"

#include <gtest/gtest.h>

#include "model/tokenizer/regex.h"

namespace conclave {
namespace {

using Matches = std::vector<std::string>;

// All matches that are not empty.
Matches find_all(std::string_view pattern, std::string_view text) {
  const absl::StatusOr<Regex> regex = Regex::compile(pattern);
  EXPECT_TRUE(regex.ok()) << regex.status();
  Regex::Scratch scratch;
  Matches matches;
  size_t from = 0;
  while (regex.ok() && from < text.size()) {
    const auto match = regex->find(text, from, &scratch);
    EXPECT_TRUE(match.ok()) << match.status();
    if (!match.ok() || !match->has_value() || (*match)->begin == (*match)->end) break;
    matches.emplace_back(text.substr((*match)->begin, (*match)->end - (*match)->begin));
    from = (*match)->end;
  }
  return matches;
}

TEST(RegexDialect, TranslatesWhatDiffers) {
  const std::pair<std::string_view, std::string_view> patterns[] = {
      {"\\p{N}{1,3}", "\\p{N}{1,3}"},
      {"[^\\r\\n\\p{L}]?\\p{L}+", "[^\\r\\n\\p{L}]?\\p{L}+"},
      {"\\s+(?!\\S)", "\\p{White_Space}+(?!\\P{White_Space})"},
      {"[^\\s]", "[^\\p{White_Space}]"},
      {"\\p{Han}+", "\\p{sc:Han}+"},
      {"\\P{^Han}", "\\P{^sc:Han}"},
      {"(?i:'s)", "(?i:'s)"},
      {"[\\[\\]\\\\]", "[\\[\\]\\\\]"},
      {"\\x{4E00}", "\\x{4E00}"}};
  for (const auto& [pattern, expected] : patterns) {
    const absl::StatusOr<std::string> translated = to_pcre2_pattern(pattern);
    ASSERT_TRUE(translated.ok()) << translated.status();
    EXPECT_EQ(*translated, expected);
  }
}

TEST(RegexDialect, RefusesWhatItDoesNotKnow) {
  for (std::string_view pattern :
       {"[a[b]]",   "[a&&b]",  "[a",      "[]a]", "\\bword", "\\h",    "\\x41",      "\\v",
        "a{,3}",    "a{2}+",   "a{2}?",   "a{",   "a{x}",    "(a)\\1", "(?<name>a)", "(?m:a)",
        "(?#a)",    "(?R)",    "(*UCP)a", "\\",   "\\p",     "\\pL",   "\\p{",       "\\p{}",
        "\\p{a:b}", "\\Qa\\E", "\\K",     "\\G",  "\\u0041", "\\R"}) {
    const absl::Status status = to_pcre2_pattern(pattern).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << pattern;
  }
}

TEST(RegexDialect, BrokenPatternsAreErrors) {
  for (std::string_view pattern : {"(", ")", "[b-a]", "*", "\\p{Nope}", "a{99999999}", "\xff"}) {
    const absl::Status status = Regex::compile(pattern).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << pattern << " " << status;
  }
}

TEST(RegexDialect, WhiteSpaceIsUnicodes) {
  EXPECT_EQ(find_all("\\s+", "a \u0085\u3000b\u180Ec\u200Bd\u2028"),
            (Matches{" \u0085\u3000", "\u2028"}));
}

TEST(RegexDialect, LineEndsAreEverywhere) {
  EXPECT_EQ(find_all("\\s$", "a \nb "), (Matches{" ", " "}));
}

TEST(RegexDialect, TrailingBlanksAreFoundAsBefore) {
  for (std::string_view text : {"  a  ", "a \n \n b", "   ", "\n", " \n", "a\n\n", "x"}) {
    EXPECT_EQ(find_all("\\s+$", text), find_all("\\s+(?=$)", text)) << text;
  }
}

TEST(Regex, LiteralsAreNoPatterns) {
  const absl::StatusOr<Regex> regex = Regex::compile_literal("a.(");
  ASSERT_TRUE(regex.ok()) << regex.status();
  Regex::Scratch scratch;
  const auto match = regex->find("abc(a.(", 0, &scratch);
  ASSERT_TRUE(match.ok() && match->has_value());
  EXPECT_EQ((*match)->begin, 4);
}

TEST(Regex, RunawayPatternsAreErrors) {
  const absl::StatusOr<Regex> regex = Regex::compile("(?:a|aa)+$");
  ASSERT_TRUE(regex.ok()) << regex.status();
  Regex::Scratch scratch;
  const absl::Status status = regex->find(std::string(60, 'a') + "c", 0, &scratch).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace conclave
