// Rewrites a regular expression of tokenizer.json for PCRE2.
//
// Hugging Face runs these patterns in Oniguruma with Ruby's syntax. What both engines read alike is
// copied, what they read differently is translated, and everything else is refused by name, so that
// no pattern can quietly mean something else:
//
//   \s \S       Unicode's White_Space (PCRE2's own adds U+180E)
//   \w          letters, marks, digits, connectors (PCRE2 10.42's own lacks marks and connectors)
//   \p{Han}     the script (PCRE2's own means script extensions)
//   ^ $         match at every line: compile with PCRE2_MULTILINE
//   \s+$        gets a look-behind, which finds the same and does not take quadratic time on a long
//   run
//               of blanks that something else follows
//
// Refused among others: nested classes and && in classes, \b, \h, \x41, {,n}, {n}+, back
// references.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace conclave {

absl::StatusOr<std::string> to_pcre2_pattern(std::string_view pattern);

}  // namespace conclave
